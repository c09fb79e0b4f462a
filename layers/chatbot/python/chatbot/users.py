"""The users of a channel: the list, the number of followers, and the conversation records."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, StringConstraints
from pydantic_core import from_json

from chatbot.api import NULL_IS_BLANK, AccountRequest, ListRequest, ListView, View
from chatbot.tables import FollowerCountTable, RecentlyActive, UserTable
from kernel.errors import Flaw, Invalid
from kernel.tables import Change, plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kernel.tables import Item

USERS_A_PAGE = 100
RECORDS_A_PAGE = 1000
# A search reads at most this many rows a call and then hands out a key, so that it stays fast in any channel.
_ROWS_A_SEARCH = 5000
_ROWS_A_READ = 1000
_COUNT_SHARDS = 8
# DynamoDB refuses a longer range key.
_KEY_BYTES = 1024
_LIST_FIELDS = (
    UserTable.adm_acc_id,
    UserTable.usrid_acstm,
    UserTable.user_id,
    UserTable.user_name,
    UserTable.user_picture,
    UserTable.account_type,
    UserTable.account_status,
    UserTable.follow_time,
    UserTable.created_at,
)


class TypedText(BaseModel):
    """A text as DynamoDB writes it."""

    S: str


class UserKey(BaseModel):
    """The key of the last user read: `#adminId#accountId` and `#userId#followTime`."""

    adm_acc_id: TypedText
    usrid_acstm: TypedText


def _read_key(value: Any) -> Any:
    """Take the key as an object or as the same object in a JSON string; null and '' mean the first page."""
    if value == "":
        return None
    if isinstance(value, str):
        try:
            return from_json(value)
        except ValueError:
            raise ValueError("is not a key of this list") from None
    return value


class UsersRequest(AccountRequest):
    """Which users to list: those whose name or id contains any of the comma-separated words."""

    keywords: Annotated[str, StringConstraints(max_length=1000), NULL_IS_BLANK] = ""
    last_evaluated_key: Annotated[UserKey | None, BeforeValidator(_read_key)] = None

    def start(self) -> Item | None:
        """Return where to go on; a key of another channel or of another shape is refused."""
        key = self.last_evaluated_key
        if key is None:
            return None
        flaws = []
        if self.partition != key.adm_acc_id.S:
            flaws.append(Flaw("lastEvaluatedKey.adm_acc_id", "is of another channel"))
        place = key.usrid_acstm.S
        if not place.startswith("#") or place.count("#") < 2 or len(place.encode()) > _KEY_BYTES:
            flaws.append(Flaw("lastEvaluatedKey.usrid_acstm", "must look like #userId#followTime"))
        if flaws:
            raise Invalid(flaws)
        return UserTable.key(key.adm_acc_id.S, place)


class UserView(View):
    """A user as he is listed."""

    user_id: str
    user_name: str
    user_picture: str
    account_type: str
    account_status: str
    follow_time: str
    create_time: str


class UsersView(View):
    """A page of users, the number of followers of the channel, and the key of the next page."""

    data: list[UserView]
    count: int
    last_evaluated_key: UserKey | None


class UserCount(View):
    """The number of followers."""

    data: int


class TagMark(View):
    """A tag that a user collected."""

    name: str
    color: str


class RecordView(View):
    """A conversation record."""

    user_id: str
    user_name: str
    user_picture: str
    account_type: str
    account_status: str
    node_id: str
    tags: list[TagMark]
    follow_time: str
    access_time: str
    create_time: str


class RecordList(ListView):
    """A page of conversation records."""

    data: list[RecordView]


def page(request: UsersRequest) -> UsersView:
    """Return a page of at most 100 users, ordered by user id; `count` is the channel's, whatever is searched."""
    partition = request.partition
    words = [word.strip().casefold() for word in request.keywords.split(",") if word.strip()]
    found: list[Item] = []
    after = request.start()
    read = 0
    while True:
        # One more than a page tells whether there is a further one; a search looks at more rows than it returns.
        limit = USERS_A_PAGE + 1 if not words else _ROWS_A_READ
        rows, last_key = UserTable.query_items(partition, fields=_LIST_FIELDS, limit=limit, after=after)
        read += len(rows)
        for item in rows:
            if not words or _contains(item, words):
                if len(found) == USERS_A_PAGE:
                    return _users_view(partition, found, found[-1])
                found.append(item)
        if last_key is None or read >= _ROWS_A_SEARCH:
            return _users_view(partition, found, last_key)
        after = last_key


def _contains(item: Item, words: list[str]) -> bool:
    text = f"{item['user_name']['S']}\n{item['user_id']['S']}".casefold()
    return any(word in text for word in words)


def _users_view(partition: str, items: list[Item], last: Item | None) -> UsersView:
    users = [
        UserView(
            user_id=item["user_id"]["S"],
            user_name=item["user_name"]["S"],
            user_picture=item["user_picture"]["S"],
            account_type=item["account_type"]["S"],
            account_status=item["account_status"]["S"],
            follow_time=shown(item["follow_time"]["S"]),
            create_time=shown(item["created_at"]["S"]),
        )
        for item in items
    ]
    key = None
    if last is not None:
        key = UserKey(adm_acc_id=TypedText(S=partition), usrid_acstm=TypedText(S=last["usrid_acstm"]["S"]))
    return UsersView(data=users, count=followers(partition), last_evaluated_key=key)


def shown(stored: str) -> str:
    """Return a stored time as the contract shows it; both are UTC with milliseconds."""
    return stored.replace("T", " ").removesuffix("Z")


def followers(partition: str) -> int:
    """Return the number of users who follow the channel, from its counters: one query whatever the number."""
    rows = FollowerCountTable.query_items(partition, limit=_COUNT_SHARDS, consistent=True).rows
    return sum(int(row["followers"]["N"]) for row in rows)


def counted(partition: str, user_id: str, difference: int) -> Change:
    """Return the write that counts a follower more or less."""
    return _counted(partition, _shard(user_id), difference)


def counted_off(partition: str, user_ids: Iterable[str]) -> list[Change]:
    """Return the writes that count these followers less, one a shard, as a transaction changes a row only once."""
    return [_counted(partition, shard, -number) for shard, number in sorted(Counter(map(_shard, user_ids)).items())]


def _shard(user_id: str) -> int:
    return hashlib.sha256(user_id.encode()).digest()[0] % _COUNT_SHARDS


def _counted(partition: str, shard: int, difference: int) -> Change:
    counter = FollowerCountTable.followers
    key = FollowerCountTable.key(partition, shard)
    return Change(FollowerCountTable, key, [counter.set((counter | 0) + difference)])


def records(request: ListRequest) -> RecordList:
    """Return a page of at most 1000 conversation records, the latest activity first."""
    partition = request.partition
    rows, last_key = UserTable.query_items(
        partition, index=RecentlyActive, limit=RECORDS_A_PAGE, after=request.start("records"), newest_first=True
    )
    views = [RecordView.model_validate(_record(item), by_alias=True, by_name=False) for item in rows]
    return RecordList(data=views, last_evaluated_key=request.next_key("records", last_key))


def _record(item: Item) -> dict[str, Any]:
    row = plain(item)
    tags = [{"name": tag["name"], "color": tag["color"]} for tag in json.loads(row["tags"])]
    return {
        "userId": row["user_id"],
        "userName": row["user_name"],
        "userPicture": row["user_picture"],
        "accountType": row["account_type"],
        "accountStatus": row["account_status"],
        "nodeId": row["node_id"],
        "tags": tags,
        "followTime": shown(row["follow_time"]),
        "accessTime": shown(row["access_time"]),
        "createTime": shown(row["created_at"]),
    }
