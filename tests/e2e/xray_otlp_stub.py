"""X-Ray's own endpoint: OTLP, signed, with the limits that AWS names; and GetSamplingRules, SamplingTargets.

Refuses what the service refuses: wrong keys, signatures, services and regions, expired tokens, more than 5 MB uncompressed or
10,000 spans; spans over 200 KB are rejected one by one.
"""
import gzip
import json

import aws_signature
from otlp_receiver import Answer, Receiver

KEYS = {"AKIDEXAMPLE": ("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", None)}


class XrayOtlp(Receiver):
    def __init__(self, keys=None, region="ca-central-1", skew=0, rules=(), replies=(), **kw):
        super().__init__(validate=self._check, **kw)
        self.keys, self.region, self.skew, self.rules = dict(KEYS if keys is None else keys), region, skew, list(rules)
        self.replies = list(replies)    # for the first calls: Answers
        self.types, self.sampling = [], []

    def wire(self):
        return [(r.status, len(r.spans)) for r in self.requests]

    def _refuse(self, status, kind, message):
        """As the front end of its JSON services does."""
        return Answer(status, {"Content-Type": "application/json", "x-amzn-ErrorType": kind + ":http://internal.amazon.com/"},
                      json.dumps({"message": message}).encode())

    def _check(self, headers, body, req):
        # The server's clock is in its answers' Date.
        wrong = aws_signature.fault(headers, req.path, body, self.keys, "xray", self.region, self.skew, ["content-type"])
        self.types.append(wrong[0] if wrong else None)
        if wrong:
            return self._refuse(403, *wrong)
        if self.replies:
            return self.replies.pop(0)
        if req.path != "/v1/traces":
            return self._refuse(404, "UnknownOperationException", req.path)
        if len(req.spans) > 10000 or req.plain_size > 5 * 1024 * 1024:
            return self._refuse(400, "InvalidRequestException", "%d spans, %d bytes" % (len(req.spans), req.plain_size))
        sizes = [(rs.resource.ByteSize() + ss.scope.ByteSize(), s.ByteSize()) for rs in req.message.resource_spans
                 for ss in rs.scope_spans for s in ss.spans]
        long = sum(r > 16 * 1024 or s > 200 * 1024 for r, s in sizes)
        return Answer(partial=long, partial_message="too long") if long else None

    def handle(self, h, body):
        if self.skew:
            real = h.date_time_string
            import time
            h.date_time_string = lambda timestamp=None: real(time.time() + self.skew)
        if h.path not in ("/GetSamplingRules", "/SamplingTargets"):
            return super().handle(h, body)
        wrong = aws_signature.fault(h.headers, h.path, body, self.keys, "xray", self.region, self.skew)
        with self.changed:
            self.sampling.append((h.path, wrong[0] if wrong else None, json.loads(body)))
            self.changed.notify_all()
        if wrong:
            answer = self._refuse(403, *wrong)
        elif h.path == "/GetSamplingRules":
            answer = Answer(body=json.dumps({"NextToken": None, "SamplingRuleRecords": [
                {"CreatedAt": 0, "ModifiedAt": 0, "SamplingRule": r} for r in self.rules]}).encode())
        else:
            answer = Answer(body=b'{"SamplingTargetDocuments":[],"LastRuleModification":0,"UnprocessedStatistics":[]}')
        self._reply(h, answer, {"content-type": "application/json"})
