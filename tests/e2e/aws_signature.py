"""Is a request signed as AWS wants it? botocore signs it again."""
import datetime
import re
import time


def fault(headers, path, raw, keys, service, region=None, skew=0, must=(), method="POST"):
    """None, or (type, message). `keys`: id -> (secret, token). `must`: names that have to be signed, besides host and date."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials
    headers = {k.lower(): v for k, v in headers.items()}
    m = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, "
                     r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})", headers.get("authorization") or "")
    if not m:
        return "MissingAuthenticationTokenException", "Missing Authentication Token"
    key, day, of, what, signed, signature = m.groups()
    if what != service or (region and of != region):
        return "InvalidSignatureException", "Credential should be scoped to a valid region, not '%s', and service '%s'." % (of, what)
    if key not in keys:
        return "UnrecognizedClientException", "The security token included in the request is invalid."
    secret, token = keys[key]
    if secret == "expired":
        return "ExpiredTokenException", "The security token included in the request is expired"
    if (headers.get("x-amz-security-token") or None) != token:
        return "UnrecognizedClientException", "The security token included in the request is invalid."
    stamp = headers.get("x-amz-date", "")
    try:
        at = datetime.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc).timestamp()
    except ValueError:
        return "IncompleteSignatureException", "Date must be in ISO-8601 'basic format'."
    now = time.time() + skew
    if abs(at - now) > 300:
        return "InvalidSignatureException", "Signature %s: %s is now %s than 5 minutes away" % (
            "expired" if at < now else "not yet current", stamp, "earlier" if at < now else "later")
    names = signed.split(";")
    again = {n: headers[n] for n in names if n not in ("host", "x-amz-date", "x-amz-security-token")}
    request = AWSRequest(method, "http://%s%s" % (headers["host"], path), headers=again, data=raw)
    request.context["timestamp"] = stamp
    auth = SigV4Auth(Credentials(key, secret, token), service, of)
    request.headers["X-Amz-Date"] = stamp
    if token:
        request.headers["X-Amz-Security-Token"] = token
    canonical = auth.canonical_request(request)
    if auth.signature(auth.string_to_sign(request, canonical), request) != signature or stamp[:8] != day:
        return "InvalidSignatureException", "The request signature we calculated does not match. " + canonical
    for name in ("host", "x-amz-date", *must, *(n for n in headers if n.startswith("x-amz-"))):
        if name not in names:
            return "IncompleteSignatureException", name + " is not signed"
    return None
