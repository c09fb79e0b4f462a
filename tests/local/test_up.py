from pathlib import Path

import pytest

from local.cloud import Cloud
from local.steps import Problem
from local.up import channel_endpoints

PRIVATE = Cloud(Path("kept"), 5001, 5002)
SIMULATOR = "http://127.0.0.1:5002"
DOUBLES = {
    "LINE_API_ENDPOINT": SIMULATOR,
    "LINE_DATA_API_ENDPOINT": SIMULATOR,
    "MESSENGER_API_ENDPOINT": "http://127.0.0.1:8792",
    "WECHAT_API_ENDPOINT": "http://127.0.0.1:8793",
    "SMS_API_ENDPOINT": "http://127.0.0.1:8795",
}


def test_without_anything_said_nothing_leaves_the_machine() -> None:
    assert channel_endpoints(PRIVATE, {}) == DOUBLES


def test_what_the_environment_says_holds() -> None:
    said = {name: f"http://127.0.0.1:{port}/" for port, name in enumerate(DOUBLES, 6000)}

    assert channel_endpoints(PRIVATE, said) == {name: value.rstrip("/") for name, value in said.items()}


def test_with_the_credentials_of_a_channel_line_is_the_real_one() -> None:
    real = {"LINE_CHANNEL_SECRET": "secret", "LINE_CHANNEL_ACCESS_TOKEN": "token"}

    endpoints = channel_endpoints(PRIVATE, real)

    assert endpoints == {
        "LINE_API_ENDPOINT": "https://api.line.me",
        "LINE_DATA_API_ENDPOINT": "https://api-data.line.me",
        "MESSENGER_API_ENDPOINT": DOUBLES["MESSENGER_API_ENDPOINT"],
        "WECHAT_API_ENDPOINT": DOUBLES["WECHAT_API_ENDPOINT"],
        "SMS_API_ENDPOINT": DOUBLES["SMS_API_ENDPOINT"],
    }


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(Problem, match=r"^LINE_API_ENDPOINT=localhost:80 is no address"):
        channel_endpoints(PRIVATE, {"LINE_API_ENDPOINT": "localhost:80"})
