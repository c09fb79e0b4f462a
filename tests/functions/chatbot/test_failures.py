"""What callers and operators learn when AWS does not play along, and what nobody ever learns: secrets."""

import base64
import hmac
import http.client
import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from kernel import secrets as opened
from kernel.operations import Operation
from tests.functions.chatbot.examples import (
    FUNCTIONS,
    IDS,
    PARTNER_KEY,
    account_fields,
    add_operator,
    add_partner_key,
    documented,
    furnish,
    refused,
    sample,
)

PASSWORD = "correct-horse-battery"
CREDENTIALS = {
    "accountToken": "secret-token-of-the-channel",
    "accountSecret": "secret-secret-of-the-channel",
    "lineLoginSecret": "secret-of-line-login",
}
BROKEN = refused("Internal error", 500)


# Tokens of the samples are made up, and what is retired asks nobody.
REFUSED_AT_ONCE = {
    **dict.fromkeys(("receive_chichatcat_order", "receive_penglue_order", "receive_user_click"), 401),
    **dict.fromkeys(("fetch_export", "user_segment_register_via_liff"), 401),
    **dict.fromkeys(("open_link", "rich_message_api", "save_scenario_api", "schedule_users_import"), 400),
    **dict.fromkeys(("show_picture", "show_whole_picture"), 404),
}
# Documented without a result.
SHORTER = {"update_account_external_api_config": {"ErrorCode": 500, "ErrorMessage": "Internal error"}}


class Between:
    """Stands between the functions and moto, and answers what it was told to instead of passing a call on."""

    def __init__(self, endpoint):
        self.answers = {}
        between = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                action = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
                if action in between.answers:
                    status, answer = between.answers[action]
                    answer = json.dumps(answer).encode()
                else:
                    status, answer = passed_on(endpoint, self.command, self.path, dict(self.headers), body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST

            def log_message(self, format, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


def passed_on(endpoint, method, path, headers, body):
    connection = http.client.HTTPConnection(urlsplit(endpoint).netloc)
    connection.request(method, path, body, headers)
    reply = connection.getresponse()
    answer = reply.status, reply.read()
    connection.close()
    return answer


@pytest.fixture
def aws(cloud, monkeypatch):
    between = Between(cloud.endpoint)
    serving = threading.Thread(target=between.server.serve_forever, args=(0.01,))
    serving.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", between.url)
    yield between
    between.server.shutdown()
    serving.join()
    between.server.server_close()


@pytest.fixture
def written(cloud, capsys):
    """Return what was written since it was asked last, by a logger that is made in this test and goes with it."""
    loggers = logging.Logger.manager.loggerDict
    kept = loggers.pop("chatbot", None)
    yield lambda: "".join(capsys.readouterr())
    loggers.pop("chatbot", None)
    if kept:
        loggers["chatbot"] = kept


def test_what_breaks_is_answered_without_detail_and_logged_once(cloud, account, aws, written, subtests):
    furnish()
    before = cloud.everything()
    refusal = (400, {"__type": "AccessDeniedException", "message": "User: arn:aws:sts::123456789012:detail"})
    aws.answers = dict.fromkeys(("GetItem", "Query", "BatchGetItem", "UpdateItem"), refusal)
    written()

    for name, function in FUNCTIONS.items():
        if not isinstance(function, Operation):
            continue
        with subtests.test(name):
            answer = function(sample(name), None)

            lines = [json.loads(line) for line in written().splitlines()]
            if name in REFUSED_AT_ONCE:
                assert answer["statusCode"] == REFUSED_AT_ONCE[name]
                assert not any(line.get("level") == "ERROR" for line in lines)
                continue
            status, body, content_type = BROKEN
            body = SHORTER.get(name, body)
            assert (answer["statusCode"], json.loads(answer["body"]), answer["headers"]["Content-Type"]) == (
                status,
                body,
                content_type,
            )
            (problem,) = (line for line in lines if line.get("level") == "ERROR")
            request_id = sample(name)["requestContext"]["requestId"]
            assert (problem["message"], problem["operation"], problem["request_id"]) == ("unexpected", name, request_id)
            assert "AccessDeniedException" in problem["exception"]
            (measured,) = (line for line in lines if "_aws" in line)
            assert (measured["operation"], measured["status"], measured["Errors"]) == (name, 500, [1.0])

    aws.answers = {}
    assert cloud.everything() == before


def test_a_busy_pool_is_no_failed_sign_in(cloud, aws):
    add_operator(cloud, "0001", PASSWORD)
    aws.answers = {"AdminInitiateAuth": (400, {"__type": "TooManyRequestsException"})}

    answer = cloud.call(FUNCTIONS["login"], {"adminId": "0001", "password": PASSWORD}, caller="")

    assert answer == refused("Too many sign-ins; try again later", 429)
    assert [row["times"] for row in cloud.rows("rates")] == [0]


def test_line_is_asked_again_when_the_queue_took_less_than_all(cloud, account, aws):
    aws.answers = {"SendMessageBatch": (200, {"Successful": [], "Failed": [{"Id": "0", "Code": "InternalError"}]})}

    # LINE delivers a webhook again that was not answered with 200.
    answer = FUNCTIONS["receive_line_events"](sample("receive_line_events"), None)

    assert (answer["statusCode"], json.loads(answer["body"])) == BROKEN[:2]


@pytest.fixture
def secrets(cloud):
    """What must not be seen: a channel's credentials, a password, a partner's key, tokens."""
    add_operator(cloud, "0001", PASSWORD)
    add_partner_key(PARTNER_KEY, "0001")
    answer = cloud.call(FUNCTIONS["login"], {"adminId": "0001", "password": PASSWORD}, caller="")
    tokens = [answer.body["Result"][name] for name in ("id_token", "access_token", "refresh_token")]
    return [*CREDENTIALS.values(), PASSWORD, PARTNER_KEY, *tokens]


def test_secrets_are_in_no_table_and_in_no_log(cloud, secrets, aws, written, caplog):
    credentials = {name: CREDENTIALS[name] for name in ("accountToken", "accountSecret")}
    channel, changed = account_fields(IDS, **credentials), documented("update_account", **CREDENTIALS)
    sign_in = {"adminId": "0001", "password": PASSWORD}
    period = documented("get_chat_history_csv")
    text = json.dumps(documented("receive_line_events"))
    signature = base64.b64encode(hmac.digest(CREDENTIALS["accountSecret"].encode(), text.encode(), "sha256")).decode()
    query = {"adminid": "0001", "accountid": IDS["accountId"]}
    token = {"Authorization": f"Bearer {secrets[-3]}"}

    # Calls that are right, calls with flaws, and calls of strangers.
    calls = [
        (200, "create_account", channel, {}),
        (200, "update_account", changed, {}),
        (200, "get_account", {"adminId": "0001"}, {}),
        (200, "login", sign_in, {}),
        (200, "receive_line_events", text, {"query": query, "headers": {"x-line-signature": signature}}),
        (200, "get_chat_history_csv", period, {"headers": {"X-Partner-Key": PARTNER_KEY}}),
        (200, "get_chat_history_csv", period, {"headers": token}),
        (400, "create_account", json.dumps(channel)[:-1], {}),
        (400, "create_account", {**channel, "accountSecret": [CREDENTIALS["accountSecret"]]}, {}),
        (400, "update_account", {**changed, "lineLoginSecret": {"a": CREDENTIALS["lineLoginSecret"]}}, {}),
        (400, "update_account", {**changed, "accountToken": CREDENTIALS["accountToken"] * 50}, {}),
        (400, "login", {**sign_in, "password": [PASSWORD]}, {}),
        (400, "login", {**sign_in, "password": PASSWORD * 20}, {}),
        (401, "update_account", changed, {"caller": "0002"}),
        (401, "login", {**sign_in, "adminId": "0002"}, {}),
        (401, "get_chat_history_csv", period, {"headers": {"X-Partner-Key": PASSWORD}}),
    ]

    def statuses():
        return [cloud.call(FUNCTIONS[name], body, **how).status for _, name, body, how in calls]

    assert statuses() == [status for status, *_ in calls]
    tables = repr(cloud.everything())
    # Again while something is out of order.
    for action in ("Encrypt", "Decrypt", "AdminInitiateAuth", "TransactWriteItems", "GetItem"):
        opened._decrypt.cache_clear()
        aws.answers = {action: (400, {"__type": "KMSInvalidStateException", "message": "out of order"})}
        assert 500 in statuses(), action
    log = written() + caplog.text

    assert "Traceback" in log
    assert [secret for secret in secrets if secret in tables or secret in log] == []
