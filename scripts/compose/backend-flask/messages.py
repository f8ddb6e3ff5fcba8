"""Messages, in DynamoDB. boto3 finds it by AWS_ENDPOINT_URL."""
import datetime
import functools

import boto3
from boto3.dynamodb.conditions import Key

NAME = "cruddur-messages"


@functools.cache
def _table():
    db = boto3.resource("dynamodb")
    if NAME not in [t.name for t in db.tables.all()]:
        db.create_table(TableName=NAME, BillingMode="PAY_PER_REQUEST",
                        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
                        AttributeDefinitions=[{"AttributeName": k, "AttributeType": "S"} for k in ("pk", "sk")]
                        ).wait_until_exists()
    return db.Table(NAME)


def groups(handle):
    found = _table().query(KeyConditionExpression=Key("pk").eq("GRP#" + handle), Limit=20)
    return [{"handle": i["with"], "message": i["message"], "created_at": i["sk"]} for i in found["Items"]]


def create(handle, receiver, message):
    now = datetime.datetime.now(datetime.timezone.utc).isoformat()
    _table().put_item(Item={"pk": "GRP#" + handle, "sk": now, "with": receiver, "message": message})
    return {"created_at": now}
