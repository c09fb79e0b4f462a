"""The documented examples, the answers they get, and what has to be there before they are sent."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatbot import cors_errors, forms, menus, variable_history
from chatbot.audiences import membership
from chatbot.external import CrosError
from chatbot.segments import name_place
from chatbot.tables import (
    BroadcastTable,
    ChunkTable,
    ConversationTable,
    FollowerCountTable,
    FormTable,
    IconTable,
    MemberTable,
    MenuTable,
    NameTable,
    RecipientTable,
    ScenarioTable,
    SegmentTable,
    TagTable,
    UserTable,
    VariableTable,
    account_key,
)
from infra.discovery import declarations
from kernel import aws, clock, running
from kernel.auth import PartnerKeyTable
from kernel.settings import settings
from kernel.tables import Put, commit, replace

if TYPE_CHECKING:
    from tests.conftest import Answer, Cloud

FUNCTIONS = {function.name: function for function in declarations("chatbot").functions}
EVENTS = Path(__file__).resolve().parents[3] / "events" / "chatbot"
NOW = datetime(2024, 1, 28, 6, 41, 29, 6000, tzinfo=UTC)
SHOWN_NOW = "2024-01-28 06:41:29.006"

ADMIN_ID = "0001"
ACCOUNT_ID = "n4ud3h8n6-a9oa-l6f2-ct2i-555d20fb04c436"
IDS = {"adminId": ADMIN_ID, "accountId": ACCOUNT_ID}
OTHER_IDS = {"adminId": "0002", "accountId": "mwcv12niwx-35n3-o43e-jroh-g9g1ec4c22b4151"}
PARTITION = account_key(ADMIN_ID, ACCOUNT_ID)
USER_ID = "Ucca1dab9cdaa6abf621f352b6a20e24b"
PARTNER_KEY = "fake-partner-key"
BROADCAST_ID = "2d76f8ac-b9c6-11ee-8b58-d6a4610da5ec"
BROADCAST_SCENARIO = "22b0cc7e-26a3-11ee-90ac-a698574f3611"

JSON = "application/json; charset=utf-8"
NOT_ALLOWED = "has characters or a form that is not allowed here"
OK = {"ErrorCode": 200, "ErrorMessage": "ok", "Result": None}
UNAUTHORIZED = (401, {"ErrorCode": 401, "ErrorMessage": "Unauthorized", "Result": None}, JSON)


def ok(result: Any = None) -> Answer:
    """Return the whole answer of a success."""
    return (200, {**OK, "Result": result}, JSON)


def refused(message: str, code: int = 400) -> Answer:
    """Return the whole answer of a refusal."""
    return (code, {"ErrorCode": code, "ErrorMessage": message, "Result": None}, JSON)


def sample(name: str) -> Any:
    """Return the sample event of a function."""
    return json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))


def documented(name: str, /, **changes: Any) -> Any:
    """Return the documented request of an operation, from its sample event; a change to `...` leaves a field out."""
    body = {**json.loads(sample(name)["body"]), **changes}
    return {field: value for field, value in body.items() if value is not ...}


def webhook_url(ids: dict[str, str], path: str = "/api/LineMessage/send") -> str:
    return f"https://chat.example.com{path}?adminid={ids['adminId']}&accountid={ids['accountId']}"


def account_fields(ids: dict[str, str], **changes: Any) -> dict[str, Any]:
    """Return the documented createAccount for another channel; a change to `...` leaves a field out."""
    return documented("create_account", **{**ids, "accountWebhookUrl": webhook_url(ids), **changes})


def listed_account(ids: dict[str, str], **changes: Any) -> dict[str, Any]:
    """Return a channel as getAccount lists it."""
    return account_fields(ids, adminId=..., accountClone=..., **{"appId": "", "setting": {}, **changes})


def node(node_id: str, sort: int = 1, **more: Any) -> dict[str, Any]:
    """Return a text node; what is given more replaces its fields."""
    template = {"type": "text", "text": node_id}
    plain = {"nodeId": node_id, "type": "text", "title": "", "level": "1", "sort": sort, "template": template}
    return {**plain, "nodeConst": {}, "error": 0, **more}


def scenario(scenario_id: Any, *nodes: Any, trigger: str = "", **head: Any) -> dict[str, Any]:
    """Return a saveScenario of these nodes; what is given more belongs to the head."""
    return {
        **IDS,
        "scenario": {"scenarioId": scenario_id, "scenarioName": "name", "trigger": trigger, **head},
        "nodes": list(nodes),
    }


def add_operator(cloud: Cloud, name: str, password: str, *, permanent: bool = True) -> None:
    cognito = cloud.client("cognito-idp")
    # The document's own example is the password "password".
    loose = {"MinimumLength": 6, **dict.fromkeys(("RequireUppercase", "RequireNumbers", "RequireSymbols"), False)}
    cognito.update_user_pool(UserPoolId=settings().pool_id, Policies={"PasswordPolicy": loose})
    cognito.admin_create_user(UserPoolId=settings().pool_id, Username=name, MessageAction="SUPPRESS")
    cognito.admin_set_user_password(
        UserPoolId=settings().pool_id, Username=name, Password=password, Permanent=permanent
    )


def add_partner_key(key: str, *tenants: str, expires_at: datetime | None = None) -> None:
    digest = PartnerKeyTable.digest(key)
    row = PartnerKeyTable(key_digest=digest, partner="partner", tenants=set(tenants), expires_at=expires_at)
    commit(Put(row))


def user_row(user_id: str = USER_ID, **changes: Any) -> UserTable:
    """Return a row of the user list; as it stands, the one of the documented getChatHistory."""
    values = {
        "user_id": user_id,
        "user_name": "Rex曾",
        "user_picture": "https://profile.example.com/0hFAKEPICTUREID",
        "account_type": "line",
        "account_status": "0",
        "node_id": "",
        "tags": [],
        "follow_time": datetime(2024, 1, 28, 6, 4, 25, 693000, tzinfo=UTC),
        "access_time": datetime(2024, 1, 28, 6, 5, 33, 830000, tzinfo=UTC),
        "created_at": datetime(2024, 1, 28, 6, 4, 25, 695000, tzinfo=UTC),
        **changes,
    }
    partition = values.pop("partition", PARTITION)
    follow_time = values["follow_time"].isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")
    return UserTable(adm_acc_id=partition, usrid_acstm=f"#{user_id}#{follow_time}", **values)


def add_users(*rows: UserTable) -> None:
    for start in range(0, len(rows), 100):
        commit(*map(Put, rows[start : start + 100]))


def add_followers(number: int, shard: int = 0, partition: str = PARTITION) -> None:
    commit(Put(FollowerCountTable(account=partition, shard=shard, followers=number)))


def furnish() -> None:
    """Put into the channel the configuration that the documented requests talk about."""
    moment = clock.now() - timedelta(days=1)
    for scenario_id in (documented("delete_scenario")["scenarioId"], BROADCAST_SCENARIO):
        row = ScenarioTable(
            account=PARTITION, scenario_id=scenario_id, scenario_name="C00010", icon_url_id="", trigger="",
            keywords=[], nodes=[], created_at=moment, updated_at=moment,
        )  # fmt: skip
        commit(replace(row))
    tag = documented("delete_tag")["tag"]
    place = f"{tag['color']}#{tag['name']}"
    commit(Put(TagTable(account=PARTITION, colour_and_name=place, tag_name=tag["name"], color=tag["color"], values=[])))
    commit(replace(VariableTable(account=PARTITION, names=["employee_count", "apply_count", "var2"])))
    commit(Put(form_row()))
    icon_id = documented("delete_icon_url")["accountIconUrl"][0]["id"]
    url = documented("save_icon_url")["accountIconUrl"][0]["url"]
    commit(Put(IconTable(account=PARTITION, icon_id=icon_id, icon_name="icon name", url=url)))
    menu = menu_row()
    name = f"menu#{menus.alias(PARTITION, menu.menu_name)}"
    commit(Put(menu), Put(NameTable(account=PARTITION, place=name, owner=menu.menu_id)))
    add_users(user_row(), user_row("U09f0f4c0bdadde26ada531cfc7decb3d", account_status="1"))
    add_followers(1)
    add_partner_key(PARTNER_KEY, ADMIN_ID)


def form_row() -> FormTable:
    """Return the form of the documented deleteForm."""
    form_id = documented("delete_form")["formId"]
    return FormTable(account=PARTITION, form_id=form_id, form_name="testname", fields=["employee_count", "apply_count"])


def menu_row() -> MenuTable:
    """Return the menu of the documented deleteMenu, as saveMenu stores it."""
    fields = documented("save_menu")
    names = ("layout", "chat_bar_text", "area_opt", "image_width", "image_height", "tab_menu", "open_menu")
    return MenuTable(
        account=PARTITION,
        menu_id=documented("delete_menu")["richmenuId"],
        menu_name="選單",
        definition={name: fields[name] for name in names},
        segments=["richAllUser"],
        timed=True,
        start_time=datetime(2024, 3, 20, 15, 35, tzinfo=UTC),
        end_time=datetime(2024, 3, 30, 15, 35, tzinfo=UTC),
        picture="picture",
        image_type="image/png",
        created_at=NOW,
    )


def inhabit() -> None:
    """Put into the furnished channel the people that the documented requests talk about, and what they left there."""
    moment = datetime(2024, 1, 28, 6, 4, 25, 693000, tzinfo=UTC)
    talk = ConversationTable(
        account=PARTITION, user_id=USER_ID, state={"variables": {"apply_count": "2"}, "tags": []}, status="1",
        status_at=moment, follow_time=moment, access_time=moment, user_name="Rex曾",
        user_picture="https://profile.example.com/0hFAKEPICTUREID", version=1, created_at=moment,
    )  # fmt: skip
    commit(
        Put(talk),
        *variable_history.rows(PARTITION, USER_ID, [("apply_count", "2")], moment),
        forms.entry(PARTITION, USER_ID, form_row(), {"apply_count": "2"}, moment),
        *cors_errors.noted(PARTITION, [CrosError("'account_id' in request parameter is empty.", "E0001")], moment),
    )
    segment_id = documented("delete_user_segment")["segmentId"]
    segment = SegmentTable(
        account=PARTITION, segment_id=segment_id, segment_name="SG00009", mode="Custom", conditions=[], order_id="",
        is_default=False, scenario_id=BROADCAST_SCENARIO, members=1,
    )  # fmt: skip
    member = MemberTable(segment=membership(PARTITION, segment_id), user_id=USER_ID, shown={}, verified=False)
    name = NameTable(account=PARTITION, place=name_place("SG00009"), owner=segment_id)
    commit(replace(segment), Put(member), Put(name))
    over = broadcast_row("e47f4370-bda8-11ee-90d4-dea4f76151b9", "history", state="done", success=1, frozen=1)
    people = f"{PARTITION}#{over.broadcast_id}"
    chunk = ChunkTable(broadcast=people, number=0, users=[], state="done", success=1, failed=0, skipped=0)
    receiver = RecipientTable(broadcast=people, user_id=USER_ID, chunk=0)
    commit(Put(broadcast_row(BROADCAST_ID, "plan")), Put(over), Put(chunk), Put(receiver))


def broadcast_row(broadcast_id: str, listed: str, **changes: Any) -> BroadcastTable:
    """Return a broadcast of the channel to its user: planned, or whatever the changes make of it."""
    values = {
        "broadcast_name": "PM00001",
        "scenario_id": BROADCAST_SCENARIO,
        "scenario_name": "01_營業稅申報",
        "broadcast_time": datetime(2024, 1, 29, 6, 40, tzinfo=UTC),
        "select_all": False,
        "segment_names": ["forreal"],
        "segment_ids": [],
        "users": [USER_ID],
        "state": "pending",
        **dict.fromkeys(("cursor", "way", "reason"), ""),
        **dict.fromkeys(("chunks", "revision", "frozen", "success", "failed", "skipped"), 0),
        "complete": False,
        "messages": [],
        "created_at": NOW,
        "updated_at": NOW,
        **changes,
    }
    return BroadcastTable(account=PARTITION, broadcast_id=broadcast_id, listed=f"{PARTITION}#{listed}", **values)


def audited(cloud: Cloud, subject: str) -> list[dict[str, Any]]:
    """Return the audit rows of a subject in the order of their times, which the tests set apart."""
    rows = sorted(cloud.rows("audit"), key=lambda row: row["created_at"])
    return [{name: row[name] for name in row if name != "entry_id"} for row in rows if row["subject"] == subject]


class Calls:
    """The calls to AWS that the running functions make inside the block."""

    def __enter__(self) -> list[str]:
        self._made: list[str] = []
        aws.observers.append(self._note)
        return self._made

    def __exit__(self, *problem: object) -> None:
        aws.observers.remove(self._note)

    def _note(self, call: aws.Call) -> None:
        if running._current is not None:
            self._made.append(f"{call.service} {call.action}")
