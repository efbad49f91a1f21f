"""What schemathesis cannot guess: whose credentials open what, and requests that are right for the objects there are.

The test that starts the tool (tests/schemathesis.rs) writes both into the file that REDRESS_KNOWN names.
"""

import base64
import collections
import hmac
import itertools
import json
import os
import struct
import threading
import time
from urllib.parse import parse_qs, urlparse

import schemathesis
from schemathesis.auths import GLOBAL_AUTH_STORAGE, AuthContext
from schemathesis.core.parameters import ParameterLocation

with open(os.environ["REDRESS_KNOWN"], encoding="utf-8") as file:
    KNOWN = json.load(file)

REQUESTS = {known["operation"]: known for known in KNOWN["requests"]}
SPARE = list(KNOWN["spare"])
LOCK = threading.Lock()
# One worker has an operation at a time, so that what follows from a count is the same each time.
COUNTS = collections.defaultdict(itertools.count)
KEY = "Idempotency-Key"
NAMES = ("incident", "service", "customer", "asset")


def operation_id(operation):
    return operation.definition.raw["operationId"]


def schemes(operation):
    return {scheme for requirement in operation.definition.raw.get("security", []) for scheme in requirement}


@schemathesis.serializer("application/toml")
def toml(context, value):
    """A file is a text; what else is generated for one is sent as its JSON, which is no TOML."""
    return (value if isinstance(value, str) else json.dumps(value)).encode(errors="replace")


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
            return KNOWN["claims"].get(parameters.get("id", parameters.get("claim")), KNOWN["own"])
        return None

    def set(self, case, data, context):
        case.headers["Authorization"] = f"Bearer {data}"


def is_positive(case, location):
    return case.meta is not None and not case.meta.is_negative_at(location)


def phase_of(case):
    return case.meta.phase.name.value


@schemathesis.hook
def before_call(context, case, kwargs):
    operation = operation_id(case.operation)
    parameters = case.path_parameters or {}
    count = next(COUNTS[operation])
    # Half of the requests are about objects that there are: ids cannot be guessed. Links bring their own.
    known = REQUESTS.get(operation)
    single = case.meta is not None and phase_of(case) in ("coverage", "fuzzing")
    if known and parameters and single and is_positive(case, ParameterLocation.PATH) and count % 2 == 0:
        parameters.update(known["path"])
        if "claimant" in schemes(case.operation) and case._has_explicit_auth:
            GLOBAL_AUTH_STORAGE.set(case, AuthContext(operation=case.operation, app=None))
    # A third of them is about what there is: a name that was made up is refused before anything else is looked at.
    if known and case.meta is not None and count % 3 == 0:
        for location, given, right in (
            (ParameterLocation.BODY, case.body, known["body"]),
            (ParameterLocation.QUERY, case.query, known["query"]),
        ):
            if isinstance(given, dict) and isinstance(right, dict) and is_positive(case, location):
                given.update({name: right[name] for name in NAMES if name in given and name in right})
    # Where links lead on from, something has to be made first: every fourth body is the right one.
    if known and isinstance(known["body"], dict) and known["media_type"] == "application/json" and count % 4 == 1:
        if case.meta is not None and phase_of(case) == "stateful" and is_positive(case, ParameterLocation.BODY):
            case.body = dict(known["body"])
    # Each request is another than those before, so it has a key of its own: a key that comes again with another request is
    # refused, as it must be.
    if KEY in (case.headers or {}) and is_positive(case, ParameterLocation.HEADER):
        case.headers[KEY] = f"{operation}-{count}"
    # A code is made when it is sent: it is good for half a minute.
    if known and known["authenticator"] is not None and case.body == known["body"]:
        case.body = {**case.body, "code": code_of(known["authenticator"])}
    # What is registered calls the test's own peer, and no address that was made up.
    if operation == "create_webhook" and isinstance(case.body, dict) and is_positive(case, ParameterLocation.BODY):
        case.body["url"] = KNOWN["peer"]
    # The member who asks, and his session, are not ended in the midst of it.
    if operation in ("revoke_staff", "reset_staff") and parameters.get("name") == "root":
        parameters["name"] = "leaver"
    if operation == "end_session" and parameters.get("id") == KNOWN["session"]:
        parameters["id"] = "00000000-0000-7000-8000-000000000000"


@schemathesis.hook
def before_add_examples(context, examples):
    """Adds the request that is right."""
    operation = context.operation
    known = REQUESTS.get(operation_id(operation))
    if known is None:
        return
    headers = {}
    if any(parameter.name == KEY for parameter in operation.headers):
        headers[KEY] = f"known-{operation_id(operation)}"
    if known["version"] is not None:
        headers["If-Match"] = f'"{known["version"]}"'
    body = {} if known["media_type"] is None else {"body": sent(known), "media_type": known["media_type"]}
    case = operation.Case(path_parameters=known["path"], query=known["query"], headers=headers, **body)
    if schemes(operation):
        GLOBAL_AUTH_STORAGE.set(case, AuthContext(operation=operation, app=None))
    examples.append(case)


def sent(known):
    """The body as it is sent."""
    body = known["body"]
    if known["media_type"] == "multipart/form-data":
        return {name: bytes.fromhex(value) for name, value in body.items()}
    return body


def code_of(uri):
    """The code that an authenticator shows now (RFC 6238)."""
    secret = parse_qs(urlparse(uri).query)["secret"][0]
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    digest = hmac.digest(key, struct.pack(">Q", int(time.time()) // 30), "sha1")
    number = struct.unpack_from(">I", digest, digest[-1] & 15)[0] & 0x7FFFFFFF
    return f"{number % 1_000_000:06}"
