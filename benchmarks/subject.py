"""One process that runs one way of doing saveTag and prints what it cost; started by the measurements.

`python -m benchmarks.subject <module> <attribute> cold|warm`, with AWS_ENDPOINT_URL naming canned answers.
"""

import sys
import time

started = time.process_time()

import contextlib  # noqa: E402
import importlib  # noqa: E402
import io  # noqa: E402
import json  # noqa: E402

EVENT = {
    "resource": "/saveTag",
    "httpMethod": "POST",
    "path": "/saveTag",
    "headers": {"Content-Type": "application/json"},
    "multiValueHeaders": {"Content-Type": ["application/json"]},
    "queryStringParameters": None,
    "multiValueQueryStringParameters": None,
    "pathParameters": None,
    "isBase64Encoded": False,
    "body": json.dumps(
        {
            "adminId": "0001",
            "accountId": "n4ud3h8n6-a9oa-l6f2-ct2i-555d20fb04c436",
            "tag": {"color": "red-filter", "name": "tag name", "values": ["tag value"]},
        }
    ),
    "requestContext": {
        "requestId": "r",
        "stage": "v1",
        "resourcePath": "/saveTag",
        "httpMethod": "POST",
        "identity": {"sourceIp": "127.0.0.1"},
        "authorizer": {"claims": {"cognito:username": "0001", "token_use": "id"}},
    },
}
WARM_CALLS = 400


class Context:
    """What Lambda hands over beside the event."""

    function_name = "save_tag"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:us-east-1:000000000000:function:save_tag"
    aws_request_id = "r"


def main() -> None:
    """Import the handler, call it, and print CPU milliseconds and the number of modules as JSON."""
    _, module, attribute, mode = sys.argv
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        handler = getattr(importlib.import_module(module), attribute)
        answer = handler(EVENT, Context())
        if mode == "warm":
            for _ in range(WARM_CALLS // 4):
                handler(EVENT, Context())
            begun = time.process_time()
            for _ in range(WARM_CALLS):
                handler(EVENT, Context())
            cost = (time.process_time() - begun) * 1000 / WARM_CALLS
        else:
            cost = (time.process_time() - started) * 1000
    if json.loads(answer["body"])["ErrorCode"] != 200:
        raise SystemExit(f"{module}: {answer}")
    print(json.dumps({"ms": cost, "modules": len(sys.modules)}))


main()
