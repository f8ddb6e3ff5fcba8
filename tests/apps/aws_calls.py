"""Calls AWS APIs as programs do, through boto3, and prints what it called: one "SERVICE OPERATION" a line.
usage: aws_calls.py URL"""
import sys

import boto3
from botocore.config import Config

URL = sys.argv[1]
TABLE, QUEUE = {"TableName": "cruddur-messages"}, {"QueueUrl": URL + "/123456789012/jobs"}
KEY = {"pk": {"S": "TableName"}}
CALLS = [
    ("dynamodb", "get_item", {**TABLE, "Key": KEY}),
    ("dynamodb", "put_item", {**TABLE, "Item": {"pk": {"S": "1"}, "TableName": {"S": "not this"}}}),
    ("dynamodb", "query", {**TABLE, "KeyConditionExpression": "pk = :pk", "ExpressionAttributeValues": {":pk": {"S": "1"}}}),
    ("dynamodb", "scan", TABLE), ("dynamodb", "list_tables", {}), ("dynamodb", "describe_table", TABLE),
    ("dynamodb", "transact_write_items", {"TransactItems": [{"Delete": {**TABLE, "Key": KEY}}]}),
    ("sqs", "send_message", {**QUEUE, "MessageBody": "TableName"}), ("sqs", "receive_message", QUEUE),
    ("sqs", "get_queue_url", {"QueueName": "jobs"}), ("sqs", "list_queues", {}),
    ("s3", "list_buckets", {}), ("s3", "create_bucket", {"Bucket": "pics"}), ("s3", "head_bucket", {"Bucket": "pics"}),
    ("s3", "put_object", {"Bucket": "pics", "Key": "a/b c.txt", "Body": b"hello"}),
    ("s3", "get_object", {"Bucket": "pics", "Key": "a/b c.txt"}), ("s3", "head_object", {"Bucket": "pics", "Key": "k"}),
    ("s3", "delete_object", {"Bucket": "pics", "Key": "k"}), ("s3", "list_objects_v2", {"Bucket": "pics"}),
    ("s3", "list_objects", {"Bucket": "pics"}), ("s3", "get_object_acl", {"Bucket": "pics", "Key": "k"}),
    ("s3", "get_bucket_location", {"Bucket": "pics"}), ("s3", "create_multipart_upload", {"Bucket": "pics", "Key": "k"}),
    ("s3", "upload_part", {"Bucket": "pics", "Key": "k", "PartNumber": 1, "UploadId": "u", "Body": b"x"}),
    ("s3", "abort_multipart_upload", {"Bucket": "pics", "Key": "k", "UploadId": "u"}),
    ("s3", "list_parts", {"Bucket": "pics", "Key": "k", "UploadId": "u"}),
    ("s3", "delete_objects", {"Bucket": "pics", "Delete": {"Objects": [{"Key": "k"}]}}),
    ("s3", "delete_bucket", {"Bucket": "pics"}),
    ("sns", "publish", {"TopicArn": "arn:aws:sns:ca-central-1:123456789012:t", "Message": "hi"}), ("sns", "list_topics", {}),
    ("sts", "get_caller_identity", {}), ("lambda", "invoke", {"FunctionName": "hello", "Payload": b"{}"}),
    ("kinesis", "put_record", {"StreamName": "s", "Data": b"x", "PartitionKey": "p"}),
    ("secretsmanager", "get_secret_value", {"SecretId": "db-password"}), ("ssm", "get_parameter", {"Name": "/a/b"}),
    ("kms", "decrypt", {"CiphertextBlob": b"x"}), ("logs", "describe_log_groups", {}), ("events", "list_rules", {}),
    ("cognito-idp", "list_user_pools", {"MaxResults": 1}), ("stepfunctions", "list_state_machines", {}),
    ("iam", "list_users", {}), ("ec2", "describe_instances", {}), ("cloudwatch", "list_metrics", {}),
    ("ecs", "list_clusters", {}),
]
config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, connect_timeout=5, read_timeout=10)

for service, method, args in CALLS:
    client = boto3.client(service, endpoint_url=URL, region_name="ca-central-1", aws_access_key_id="AKIDEXAMPLE",
                          aws_secret_access_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", config=config)
    try:
        getattr(client, method)(**args)
    except Exception as e:          # the stub's answers are nothing to every service
        print("#", type(e).__name__, str(e)[:80])
    print(client.meta.service_model.signing_name, client.meta.method_to_api_mapping[method], flush=True)
