"""A DynamoDB of canned answers, so that a measurement shows the client's cost and nothing else."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ACCOUNT = {
    "admin_id": {"S": "0001"},
    "account_id": {"S": "n4ud3h8n6-a9oa-l6f2-ct2i-555d20fb04c436"},
    "account_name": {"S": "name"},
    "account_type": {"S": "line"},
    "account_icon": {"S": ""},
    "account_webhook_url": {"S": "https://chat.example.com/"},
    "app_id": {"S": ""},
    "credentials": {"S": "sealed"},
    "setting": {"S": "{}"},
    "version": {"N": "1"},
    "created_at": {"S": "2024-01-28T06:41:29.006Z"},
    "updated_at": {"S": "2024-01-28T06:41:29.006Z"},
}


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer GetItem of an account with one, everything else with nothing."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        action = self.headers["X-Amz-Target"].rpartition(".")[2]
        answer: dict[str, Any] = {}
        if action == "GetItem" and json.loads(body)["TableName"].endswith("accounts"):
            answer = {"Item": ACCOUNT, "ConsumedCapacity": {"TableName": "accounts", "CapacityUnits": 1.0}}
        text = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def main() -> None:
    """Serve on a free port and print it."""
    # Headers and body go out in one packet each; without this, Nagle's algorithm adds 40 ms to every answer.
    _Answers.wbufsize = -1
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
