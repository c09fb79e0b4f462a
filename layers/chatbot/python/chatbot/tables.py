"""The chatbot's tables; keys the contract documents (key_formats) are kept exactly."""

from __future__ import annotations

from typing import Any, ClassVar

from pynamodb.attributes import JSONAttribute, NumberAttribute, TTLAttribute, UnicodeAttribute
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex

from kernel.tables import CompressedJson, Table, UtcTime, Version


def account_key(admin_id: str, account_id: str) -> str:
    """Return `#{adminId}#{accountId}`, the partition of everything that belongs to a channel."""
    return f"#{admin_id}#{account_id}"


class AccountTable(Table):
    """A channel of an operator; token and secrets are in `credentials`, encrypted together."""

    name: ClassVar[str] = "accounts"
    admin_id = UnicodeAttribute(hash_key=True)
    account_id = UnicodeAttribute(range_key=True)
    account_name = UnicodeAttribute()
    account_type = UnicodeAttribute()
    account_icon = UnicodeAttribute()
    account_webhook_url = UnicodeAttribute()
    app_id = UnicodeAttribute()
    credentials = UnicodeAttribute()
    setting = JSONAttribute()
    version = Version(null=True)
    created_at = UtcTime(null=True)
    updated_at = UtcTime(null=True)


class AccountIdTable(Table):
    """Holds every accountId once, because they are unique over the platform, not within an operator.

    While a channel is being copied, `claim` names the copy and `copied_since` tells when it began.
    """

    name: ClassVar[str] = "account-ids"
    account_id = UnicodeAttribute(hash_key=True)
    admin_id = UnicodeAttribute()
    claim = UnicodeAttribute(null=True)
    copied_since = UtcTime(null=True)


class TagTable(Table):
    """A tag of a channel, identified by name and colour."""

    name: ClassVar[str] = "tags"
    account = UnicodeAttribute(hash_key=True)
    colour_and_name = UnicodeAttribute(range_key=True)
    tag_name = UnicodeAttribute()
    color = UnicodeAttribute()
    values = JSONAttribute()
    created_at = UtcTime(null=True)
    updated_at = UtcTime(null=True)


class VariableTable(Table):
    """The variable names of a channel, in the order of their creation: one row a channel."""

    name: ClassVar[str] = "variables"
    account = UnicodeAttribute(hash_key=True)
    names = CompressedJson()
    version = Version(null=True)
    created_at = UtcTime(null=True)
    updated_at = UtcTime(null=True)


class ScenarioTable(Table):
    """A scenario with its nodes."""

    name: ClassVar[str] = "scenarios"
    account = UnicodeAttribute(hash_key=True)
    scenario_id = UnicodeAttribute(range_key=True)
    scenario_name = UnicodeAttribute()
    icon_url_id = UnicodeAttribute()
    trigger = UnicodeAttribute()
    keywords = CompressedJson()
    nodes = CompressedJson()
    version = Version(null=True)
    created_at = UtcTime(null=True)
    updated_at = UtcTime(null=True)


class TriggerTable(Table):
    """What starts a scenario: one row for each keyword, or one for follow and error; found with one query."""

    name: ClassVar[str] = "triggers"
    account = UnicodeAttribute(hash_key=True)
    trigger_key = UnicodeAttribute(range_key=True)
    scenario_id = UnicodeAttribute()
    keyword = UnicodeAttribute()
    updated_at = UtcTime()


class RecentlyActive(GlobalSecondaryIndex[Any]):
    """The users of a channel by their last activity."""

    class Meta:
        """What the index holds."""

        index_name = "recently-active"
        projection = AllProjection()

    adm_acc_id = UnicodeAttribute(hash_key=True)
    access_time = UtcTime(range_key=True)


class UserTable(Table):
    """The user list of a channel (`chatbot_userlist`): hash `#adminId#accountId`, range `#userId#followTime`."""

    name: ClassVar[str] = "userlist"
    adm_acc_id = UnicodeAttribute(hash_key=True)
    usrid_acstm = UnicodeAttribute(range_key=True)
    user_id = UnicodeAttribute()
    user_name = UnicodeAttribute()
    user_picture = UnicodeAttribute()
    account_type = UnicodeAttribute()
    account_status = UnicodeAttribute()
    node_id = UnicodeAttribute()
    tags = JSONAttribute()
    follow_time = UtcTime()
    access_time = UtcTime()
    created_at = UtcTime()
    by_activity = RecentlyActive()


class FollowerCountTable(Table):
    """The number of followers of a channel, in shards so that a rush of follows does not meet at one row."""

    name: ClassVar[str] = "follower-counts"
    account = UnicodeAttribute(hash_key=True)
    shard = NumberAttribute(range_key=True)
    followers = NumberAttribute()


class ConversationTable(Table):
    """Where a user is in a channel's conversation, and since when he follows; `status` '1' follows, '0' left."""

    name: ClassVar[str] = "conversations"
    account = UnicodeAttribute(hash_key=True)
    user_id = UnicodeAttribute(range_key=True)
    state = CompressedJson()
    status = UnicodeAttribute()
    status_at = UtcTime()
    follow_time = UtcTime()
    access_time = UtcTime()
    user_name = UnicodeAttribute()
    user_picture = UnicodeAttribute()
    version = Version(null=True)
    created_at = UtcTime(null=True)


class TurnTable(Table):
    """One handled event and the messages it led to: makes a repeated event harmless and a crash resumable."""

    name: ClassVar[str] = "turns"
    # Channel and event together: events of a busy channel are spread over all partitions.
    turn_id = UnicodeAttribute(hash_key=True)
    messages = CompressedJson()
    replied = NumberAttribute()
    delivered_at = UtcTime(null=True)
    expires = TTLAttribute()
    created_at = UtcTime(null=True)
