"""Channels to work on, made through the public operations, and how refusals are asserted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from functions.chatbot.create_account import create_account
from tests.functions.chatbot.examples import IDS, OTHER_IDS, account_fields, ok, refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kernel.operations import Operation
    from tests.conftest import Cloud


class Channel(NamedTuple):
    ids: dict[str, str]
    fields: dict[str, Any]


def made(cloud: Cloud, ids: dict[str, str], **changes: Any) -> Channel:
    fields = account_fields(ids, **changes)
    assert cloud.call(create_account, fields, caller=ids["adminId"]) == ok()
    return Channel(ids, fields)


@pytest.fixture
def account(cloud: Cloud) -> Channel:
    """The channel of the documented examples."""
    return made(cloud, IDS)


@pytest.fixture
def foreign(cloud: Cloud) -> Channel:
    """A channel of another operator."""
    return made(cloud, OTHER_IDS, accountToken="foreign-token", accountSecret="foreign-secret")


@pytest.fixture
def refuses(cloud: Cloud) -> Callable[..., None]:
    """Assert that calls are refused, each with its message, and that none of them wrote anything."""

    def check(operation: Operation, cases: Iterable[tuple[Any, str]], *, as_form: bool = False, **how: Any) -> None:
        before = cloud.everything()
        for body, message in cases:
            sent = {"form": body} if as_form else {"body": body}
            assert cloud.call(operation, **sent, **how) == refused(message), body
        assert cloud.everything() == before

    return check
