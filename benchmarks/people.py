"""Made-up followers of a channel: the same for the same number, as records and as DynamoDB sends them."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from random import Random
from typing import NamedTuple

from pydantic_core import to_json

from chatbot.engine import Conversation
from chatbot.tables import ConversationTable, UserTable, account_key

ADMIN, ACCOUNT = "0001", "n4ud3h8n6-a9oa-l6f2-ct2i-555d20fb04c436"
PARTITION = account_key(ADMIN, ACCOUNT)
ROWS_A_PAGE = 1000
_BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
_COLORS = ("red-filter", "blue-filter", "green-filter")
_TAGS = (("level", ("gold", "silver", "")), ("store", ("north", "south", "harbour")), ("coupon", ("", "used")))
_CITIES = ("Taipei City", "New Taipei City", "Taoyuan", "Tainan", "臺中市", "")


class Follower(NamedTuple):
    """What is known of somebody."""

    user_id: str
    tags: list[dict[str, str]]
    variables: dict[str, str]
    follow_time: datetime


def user_ids(count: int) -> list[str]:
    """Return ids as LINE makes them, which compress as badly as LINE's, in order."""
    return sorted(f"U{hashlib.md5(str(number).encode()).hexdigest()}" for number in range(count))


def followers(count: int) -> list[Follower]:
    """Return followers in the order of their ids: up to three tags, four to six variables, three years of follows."""
    chance = Random(count)
    found = []
    for user_id in user_ids(count):
        tags = [
            {"name": name, "color": chance.choice(_COLORS), "value": chance.choice(values)}
            for name, values in _TAGS
            if chance.random() < 0.6
        ]
        variables = {
            "age": str(chance.randrange(12, 90)) if chance.random() < 0.9 else "n/a",
            "city": chance.choice(_CITIES),
            "gender": chance.choice(("f", "m", "x")),
            "points": f"{chance.random() * 5000:.1f}",
        }
        if chance.random() < 0.5:
            variables |= {"email": f"{user_id[1:9]}@example.com", "note": "prefers the evening, no calls please"}
        seconds = chance.randrange(3 * 365 * 86400)
        found.append(
            Follower(user_id, tags, variables, _BEGIN + timedelta(seconds=seconds, milliseconds=seconds % 999))
        )
    return found


def conversation(person: Follower) -> ConversationTable:
    """Return the row that keeps what is known of somebody."""
    at = person.follow_time
    state = asdict(Conversation(tags=person.tags, variables=person.variables))
    return ConversationTable(
        account=PARTITION, user_id=person.user_id, state=state, status="1", status_at=at, follow_time=at,
        access_time=at, user_name="somebody", user_picture="https://profile.example.com/p", profile_at=at, version=1,
        created_at=at,
    )  # fmt: skip


def listed(person: Follower) -> UserTable:
    """Return the row of the user list."""
    at = person.follow_time
    return UserTable(
        adm_acc_id=PARTITION, usrid_acstm=f"#{person.user_id}#{at:%Y-%m-%d %H:%M:%S}", user_id=person.user_id,
        user_name=f'{person.variables["city"]}, "{person.user_id[1:7]}"', user_picture="https://profile.example.com/p",
        account_type="line", account_status="1", node_id="node-1", tags=person.tags, follow_time=at,
        access_time=at + timedelta(days=3), created_at=at,
    )  # fmt: skip


def conversation_pages(people: list[Follower]) -> list[bytes]:
    """Return the rows as the Items of Query answers, with the attributes that a rule over all sources asks for."""
    names = ("user_id", "status", "state", "follow_time")
    items = ({name: item[name] for name in names} for item in (conversation(person).item() for person in people))
    return _pages(list(items))


def list_pages(people: list[Follower]) -> list[bytes]:
    """Return the rows of the user list as the Items of Query answers."""
    return _pages([listed(person).item() for person in people])


def _pages(items: list[dict[str, dict[str, object]]]) -> list[bytes]:
    return [to_json(items[start : start + ROWS_A_PAGE]) for start in range(0, len(items), ROWS_A_PAGE)]
