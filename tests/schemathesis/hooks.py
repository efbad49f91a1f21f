"""What schemathesis cannot guess: whose credentials open what, and requests that are right for the objects there are.

The test that starts the tool (tests/schemathesis.rs) writes both into the file that REDRESS_KNOWN names.
"""

import base64
import hmac
import json
import os
import struct
import threading
import time
from urllib.parse import parse_qs, urlparse

import schemathesis

with open(os.environ["REDRESS_KNOWN"], encoding="utf-8") as file:
    KNOWN = json.load(file)

SPARE = list(KNOWN["spare"])
LOCK = threading.Lock()


def operation_id(operation):
    return operation.definition.raw["operationId"]


def schemes(operation):
    return {scheme for requirement in operation.definition.raw.get("security", []) for scheme in requirement}


@schemathesis.auth(refresh_interval=None)
class Credentials:
    """Members of staff where they may ask, else the claimant."""

    def get(self, case, context):
        operation = context.operation
        if operation_id(operation) == "sign_out":
            # It ends the session that asks: each time another.
            with LOCK:
                return SPARE.pop() if len(SPARE) > 1 else SPARE[0]
        if "staff" in schemes(operation):
            return KNOWN["staff"]
        if "claimant" in schemes(operation):
            parameters = case.path_parameters or {}
            claim = parameters.get("id", parameters.get("claim"))
            return KNOWN["claims"].get(claim, KNOWN["own"])
        return None

    def set(self, case, data, context):
        if data is not None:
            case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.hook
def before_call(context, case, kwargs):
    """The member who asks, and his session, are not ended in the midst of it."""
    parameters = case.path_parameters or {}
    if operation_id(case.operation) in ("revoke_staff", "reset_staff") and parameters.get("name") == "root":
        parameters["name"] = "leaver"
    if operation_id(case.operation) == "end_session" and parameters.get("id") == KNOWN["session"]:
        parameters["id"] = "00000000-0000-7000-8000-000000000000"


@schemathesis.hook
def before_add_examples(context, examples):
    """Adds the requests that are right."""
    operation = context.operation
    for known in KNOWN["requests"]:
        if known["operation"] != operation_id(operation):
            continue
        headers = {}
        for parameter in operation.headers:
            if parameter.name == "Idempotency-Key":
                headers["Idempotency-Key"] = f"known-{operation_id(operation)}"
        if known["version"] is not None:
            headers["If-Match"] = f'"{known["version"]}"'
        body = {}
        if known["media_type"] is not None:
            body = {"body": sent(known), "media_type": known["media_type"]}
        examples.append(
            operation.Case(path_parameters=known["path"], query=known["query"], headers=headers, **body)
        )


def sent(known):
    """The body as it is sent."""
    body = known["body"]
    if known["media_type"] == "multipart/form-data":
        return {name: bytes.fromhex(value) for name, value in body.items()}
    if known["authenticator"] is not None:
        return {**body, "code": code_of(known["authenticator"])}
    return body


def code_of(uri):
    """The code that an authenticator shows now (RFC 6238)."""
    secret = parse_qs(urlparse(uri).query)["secret"][0]
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    digest = hmac.digest(key, struct.pack(">Q", int(time.time()) // 30), "sha1")
    number = struct.unpack_from(">I", digest, digest[-1] & 15)[0] & 0x7FFFFFFF
    return f"{number % 1_000_000:06}"
