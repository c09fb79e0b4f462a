"""The chatbot's tables; keys the contract documents (key_formats) are kept exactly."""

from __future__ import annotations

from typing import Any, ClassVar

from pynamodb.attributes import BooleanAttribute, JSONAttribute, NumberAttribute, TTLAttribute, UnicodeAttribute
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex

from kernel.tables import CompressedJson, Table, UtcTime, Version


def account_key(admin_id: str, account_id: str) -> str:
    """Return `#{adminId}#{accountId}`, the partition of everything that belongs to a channel."""
    return f"#{admin_id}#{account_id}"


class AccountTable(Table):
    """A channel of an operator; token and secrets are in `credentials`, encrypted together.

    `liff_id` is the channel's LIFF app, `erased_at` the time up to which nothing of its users may be known.
    """

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
    liff_id = UnicodeAttribute(null=True)
    erased_at = UtcTime(null=True)
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
    """A scenario with its nodes, as it was saved last: `revision` numbers that save, `first_revision` the first."""

    name: ClassVar[str] = "scenarios"
    account = UnicodeAttribute(hash_key=True)
    scenario_id = UnicodeAttribute(range_key=True)
    revision = NumberAttribute(null=True)
    first_revision = NumberAttribute(null=True)
    scenario_name = UnicodeAttribute()
    icon_url_id = UnicodeAttribute()
    trigger = UnicodeAttribute()
    keywords = CompressedJson()
    nodes = CompressedJson()
    version = Version(null=True)
    created_at = UtcTime(null=True)
    updated_at = UtcTime(null=True)


class ScenarioVersionTable(Table):
    """A scenario as one save left it; never changed, and kept when the scenario is deleted."""

    name: ClassVar[str] = "scenario-versions"
    # #adminId#accountId#scenarioId
    scenario = UnicodeAttribute(hash_key=True)
    revision = NumberAttribute(range_key=True)
    scenario_name = UnicodeAttribute()
    icon_url_id = UnicodeAttribute()
    trigger = UnicodeAttribute()
    keywords = CompressedJson()
    nodes = CompressedJson()
    actor = UnicodeAttribute()
    created_at = UtcTime(null=True)


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
    profile_at = UtcTime(null=True)
    # Numbers of the orders that partners wrote back, the latest last.
    orders = JSONAttribute(null=True)
    version = Version(null=True)
    created_at = UtcTime(null=True)


class TurnTable(Table):
    """One handled event and the messages it led to: makes a repeated event harmless and a crash resumable."""

    name: ClassVar[str] = "turns"
    # Channel and user together: spread over all partitions, and found when a user's data is erased.
    person = UnicodeAttribute(hash_key=True)
    event_id = UnicodeAttribute(range_key=True)
    messages = CompressedJson()
    replied = NumberAttribute()
    refused = UnicodeAttribute(null=True)
    delivered_at = UtcTime(null=True)
    expires = TTLAttribute()
    created_at = UtcTime(null=True)


class PushTable(Table):
    """When a user was last written to without having asked: a broadcast, a reservation, a partner's push."""

    name: ClassVar[str] = "pushes"
    account = UnicodeAttribute(hash_key=True)
    user_id = UnicodeAttribute(range_key=True)
    pushed_at = UtcTime()


class VariableHistoryTable(Table):
    """Every value that a variable ever had: a text, or {"sealed": …}."""

    name: ClassVar[str] = "variable-history"
    account = UnicodeAttribute(hash_key=True)
    # User, time and number: the users one after the other, each value in the order of time.
    place = UnicodeAttribute(range_key=True)
    user_id = UnicodeAttribute()
    variable = UnicodeAttribute()
    value = JSONAttribute()
    created_at = UtcTime()


class NameTable(Table):
    """Names that may be taken once in a channel: `segment#…`, `menu#…`, each with the id of what has it."""

    name: ClassVar[str] = "names"
    account = UnicodeAttribute(hash_key=True)
    place = UnicodeAttribute(range_key=True)
    owner = UnicodeAttribute()
    created_at = UtcTime(null=True)


class SegmentTable(Table):
    """A segment of a channel's users; `members` counts those of `segment-members`."""

    name: ClassVar[str] = "segments"
    account = UnicodeAttribute(hash_key=True)
    segment_id = UnicodeAttribute(range_key=True)
    segment_name = UnicodeAttribute()
    mode = UnicodeAttribute()
    conditions = CompressedJson()
    order_id = UnicodeAttribute()
    is_default = BooleanAttribute()
    scenario_id = UnicodeAttribute()
    members = NumberAttribute()
    version = Version(null=True)
    created_at = UtcTime(null=True)
    updated_at = UtcTime(null=True)


class MemberTable(Table):
    """A user in a segment: picked by hand, or come through its LIFF link; `verified` when LINE vouched for the id."""

    name: ClassVar[str] = "segment-members"
    # #adminId#accountId#segmentId
    segment = UnicodeAttribute(hash_key=True)
    user_id = UnicodeAttribute(range_key=True)
    shown = JSONAttribute()
    verified = BooleanAttribute()
    created_at = UtcTime(null=True)


class EntryTable(Table):
    """Somebody who came through a segment's LIFF link and does not follow yet; anybody may say so, hence `expires`."""

    name: ClassVar[str] = "segment-entries"
    account = UnicodeAttribute(hash_key=True)
    # userId#segmentId
    place = UnicodeAttribute(range_key=True)
    user_id = UnicodeAttribute()
    segment_id = UnicodeAttribute()
    verified = BooleanAttribute()
    expires = TTLAttribute(null=True)
    created_at = UtcTime(null=True)


class BroadcastsByTime(GlobalSecondaryIndex[Any]):
    """The broadcasts of a channel that are planned, or over, by their time."""

    class Meta:
        """What the index holds."""

        index_name = "by-time"
        projection = AllProjection()

    # #adminId#accountId#plan or #adminId#accountId#history
    listed = UnicodeAttribute(hash_key=True)
    broadcast_time = UtcTime(range_key=True)


class BroadcastTable(Table):
    """A broadcast from its booking to its end; when it is over, frozen = success + failed + skipped."""

    name: ClassVar[str] = "broadcasts"
    account = UnicodeAttribute(hash_key=True)
    broadcast_id = UnicodeAttribute(range_key=True)
    listed = UnicodeAttribute()
    broadcast_name = UnicodeAttribute()
    scenario_id = UnicodeAttribute()
    scenario_name = UnicodeAttribute()
    broadcast_time = UtcTime()
    select_all = BooleanAttribute()
    # The names are shown; the ids are what is meant, whatever becomes of the names.
    segment_names = JSONAttribute()
    segment_ids = JSONAttribute()
    users = CompressedJson()
    state = UnicodeAttribute()
    # How far the audience is frozen: the last user looked at, the slices and chunks made, and whether that is all.
    cursor = UnicodeAttribute()
    slices = NumberAttribute(null=True)
    chunks = NumberAttribute()
    complete = BooleanAttribute()
    # What is sent: the scenario's number, the messages that all get, or `way` personal: each gets his own.
    revision = NumberAttribute()
    way = UnicodeAttribute()
    messages = CompressedJson()
    reason = UnicodeAttribute()
    frozen = NumberAttribute()
    success = NumberAttribute()
    failed = NumberAttribute()
    skipped = NumberAttribute()
    started_at = UtcTime(null=True)
    finished_at = UtcTime(null=True)
    created_at = UtcTime(null=True)
    updated_at = UtcTime(null=True)
    by_time = BroadcastsByTime()


class RecipientTable(Table):
    """One person of a broadcast's frozen audience; `outcome` is written only when it is not his chunk's success."""

    name: ClassVar[str] = "recipients"
    # #adminId#accountId#broadcastId
    broadcast = UnicodeAttribute(hash_key=True)
    user_id = UnicodeAttribute(range_key=True)
    chunk = NumberAttribute()
    outcome = UnicodeAttribute(null=True)
    reason = UnicodeAttribute(null=True)


class ChunkTable(Table):
    """At most 500 people of a broadcast, who are sent to together.

    `state` is pending, sending (`users` are then those who are sent to) or done; `reason` is why nobody was sent to.
    """

    name: ClassVar[str] = "broadcast-chunks"
    broadcast = UnicodeAttribute(hash_key=True)
    number = NumberAttribute(range_key=True)
    users = CompressedJson()
    state = UnicodeAttribute()
    reason = UnicodeAttribute(null=True)
    success = NumberAttribute()
    failed = NumberAttribute()
    skipped = NumberAttribute()


class DueTable(Table):
    """What has to happen at a time: a broadcast to start, a reservation to send, menus to switch."""

    name: ClassVar[str] = "due"
    # kind#shard
    lane = UnicodeAttribute(hash_key=True)
    # time#adminId#accountId#what
    place = UnicodeAttribute(range_key=True)
    admin_id = UnicodeAttribute()
    account_id = UnicodeAttribute()
    at = UtcTime()
    what = JSONAttribute()


class MenuTable(Table):
    """A rich menu of a LINE channel under LINE's id; `segments` are ids, or richAllUser."""

    name: ClassVar[str] = "menus"
    account = UnicodeAttribute(hash_key=True)
    menu_id = UnicodeAttribute(range_key=True)
    menu_name = UnicodeAttribute()
    definition = CompressedJson()
    segments = JSONAttribute()
    timed = BooleanAttribute()
    start_time = UtcTime(null=True)
    end_time = UtcTime(null=True)
    picture = UnicodeAttribute()
    image_type = UnicodeAttribute()
    created_at = UtcTime(null=True)


class MenuLinkTable(Table):
    """The menu that a user was given for himself at LINE."""

    name: ClassVar[str] = "menu-links"
    account = UnicodeAttribute(hash_key=True)
    user_id = UnicodeAttribute(range_key=True)
    menu_id = UnicodeAttribute()


class FormTable(Table):
    """A form: the variables that make it, in order."""

    name: ClassVar[str] = "forms"
    account = UnicodeAttribute(hash_key=True)
    form_id = UnicodeAttribute(range_key=True)
    form_name = UnicodeAttribute()
    fields = JSONAttribute()
    created_at = UtcTime(null=True)


class FormEntryTable(Table):
    """A form that a user filled in; `answers` by variable, each a text or {"sealed": …}."""

    name: ClassVar[str] = "form-entries"
    account = UnicodeAttribute(hash_key=True)
    # time#userId#formId
    place = UnicodeAttribute(range_key=True)
    user_id = UnicodeAttribute()
    form_id = UnicodeAttribute()
    form_name = UnicodeAttribute()
    answers = CompressedJson()
    created_at = UtcTime()


class IconTable(Table):
    """A picture that the bot may show beside its messages."""

    name: ClassVar[str] = "icons"
    account = UnicodeAttribute(hash_key=True)
    icon_id = UnicodeAttribute(range_key=True)
    icon_name = UnicodeAttribute()
    url = UnicodeAttribute()
    created_at = UtcTime(null=True)


class OrderTable(Table):
    """An order that a partner wrote back; the same number may come once from each partner."""

    name: ClassVar[str] = "orders"
    account = UnicodeAttribute(hash_key=True)
    # orderId#source
    place = UnicodeAttribute(range_key=True)
    order_id = UnicodeAttribute()
    source = UnicodeAttribute()
    user_id = UnicodeAttribute()
    product_id = UnicodeAttribute()
    label = UnicodeAttribute()
    cv_date = UnicodeAttribute()
    node_id = UnicodeAttribute()
    scenario_id = UnicodeAttribute()
    created_at = UtcTime(null=True)


class LinkTable(Table):
    """A target that tracked links may lead to: the URL of a saved node, under its digest."""

    name: ClassVar[str] = "links"
    account = UnicodeAttribute(hash_key=True)
    digest = UnicodeAttribute(range_key=True)
    url = UnicodeAttribute()
    created_at = UtcTime(null=True)


class ClickTable(Table):
    """A click on a tracked link, or one that a partner reported with whatever he sent."""

    name: ClassVar[str] = "clicks"
    account = UnicodeAttribute(hash_key=True)
    click_id = UnicodeAttribute(range_key=True)
    source = UnicodeAttribute()
    user_id = UnicodeAttribute()
    node_id = UnicodeAttribute()
    scenario_id = UnicodeAttribute()
    url = UnicodeAttribute()
    payload = JSONAttribute()
    created_at = UtcTime()
    expires = TTLAttribute()


class CorsErrorTable(Table):
    """An error of the external service, the latest last."""

    name: ClassVar[str] = "cors-errors"
    account = UnicodeAttribute(hash_key=True)
    error_id = UnicodeAttribute(range_key=True)
    msg = UnicodeAttribute()
    code = UnicodeAttribute()
    expires = TTLAttribute()


class ExportTable(Table):
    """A file that is being written or is there; `version` is the store's, so that it can be removed for good."""

    name: ClassVar[str] = "exports"
    account = UnicodeAttribute(hash_key=True)
    export_id = UnicodeAttribute(range_key=True)
    kind = UnicodeAttribute()
    path = UnicodeAttribute()
    state = UnicodeAttribute()
    # Where the writing goes on: the parts stored, the key of the last row, the bytes not stored yet.
    progress = CompressedJson()
    file_version = UnicodeAttribute()
    step = NumberAttribute()
    created_at = UtcTime(null=True)
    expires = TTLAttribute()


class ErasureTable(Table):
    """The erasing of all users of a channel: what is gone already, and where it goes on."""

    name: ClassVar[str] = "erasures"
    account = UnicodeAttribute(hash_key=True)
    state = UnicodeAttribute()
    step = NumberAttribute()
    erased = JSONAttribute()
    actor = UnicodeAttribute()
    created_at = UtcTime(null=True)
    updated_at = UtcTime(null=True)


class ChannelTokenTable(Table):
    """The access token that a WeChat account has at the moment, encrypted: one for all who send for it."""

    name: ClassVar[str] = "channel-tokens"
    account = UnicodeAttribute(hash_key=True)
    token = UnicodeAttribute()
    valid_until = UtcTime()
    expires = TTLAttribute()
