from datetime import timedelta

import pytest

from chatbot import accounts
from chatbot.scenarios import writes_of
from chatbot.tables import (
    AccountIdTable,
    AccountTable,
    FormTable,
    IconTable,
    NameTable,
    ScenarioTable,
    SegmentTable,
    TagTable,
    TriggerTable,
    VariableTable,
    account_key,
)
from functions.chatbot.create_account import create_account
from kernel import aws
from kernel.audit import digest
from kernel.running import Running
from kernel.tables import Change, Put, commit, replace
from tests.functions.chatbot.examples import (
    FUNCTIONS,
    IDS,
    NOT_ALLOWED,
    NOW,
    OTHER_IDS,
    SHOWN_NOW,
    account_fields,
    add_followers,
    add_users,
    documented,
    listed_account,
    node,
    ok,
    refused,
    scenario,
    user_row,
    webhook_url,
)

EXAMPLE = documented("create_account")
NEW = {name: EXAMPLE[name] for name in ("adminId", "accountId")}
TARGET = account_key(*NEW.values())
ICON = EXAMPLE["accountIcon"]
URL = EXAMPLE["accountWebhookUrl"]
PATH = "accountWebhookUrl must have the path {} for accountType {}"
SAME = "accountWebhookUrl must carry the same adminid and accountid"


def listed(cloud, ids=NEW):
    accounts = cloud.call(FUNCTIONS["get_account"], {"adminId": ids["adminId"]}, caller=ids["adminId"])
    return [account for account in accounts.body["Result"]["accounts"] if account["accountId"] == ids["accountId"]]


def test_registers_the_documented_channel(cloud):
    assert cloud.call(create_account, EXAMPLE) == ok()

    assert listed(cloud) == [listed_account(NEW)]
    (row,) = cloud.rows("accounts")
    assert row == {
        "admin_id": "0001",
        "account_id": NEW["accountId"],
        "account_name": "測試帳號1",
        "account_type": "line",
        "account_icon": ICON,
        "account_webhook_url": URL,
        "app_id": "",
        "credentials": row["credentials"],
        "setting": "{}",
        "version": 1,
        "created_at": "2024-01-28T06:41:29.006Z",
        "updated_at": "2024-01-28T06:41:29.006Z",
    }
    assert cloud.rows("account-ids") == [{"account_id": NEW["accountId"], "admin_id": "0001"}]


def test_leaves_an_audit_row(cloud):
    cloud.call(create_account, EXAMPLE)

    (account,) = cloud.rows("accounts")
    (row,) = cloud.rows("audit")
    names = ("account_name", "account_type", "account_icon", "account_webhook_url", "app_id", "credentials")
    assert row == {
        "tenant": "0001",
        "entry_id": row["entry_id"],
        "actor": "0001",
        "operation": "create_account",
        "subject": f"account {NEW['accountId']}",
        "after": digest({**{name: account[name] for name in names}, "setting": {}}),
        "created_at": "2024-01-28T06:41:29.006Z",
    }


LINE, FB, WECHAT = accounts.WEBHOOK_PATHS.values()
# By accountId: the webhook's path, what is sent beside the documented fields, and what getAccount then shows.
ACCEPTED = {
    "absent-clone": (LINE, {"accountClone": ...}, {}),
    "null-is-blank": (LINE, {"accountClone": None, "appId": None}, {}),
    "residue-behind-the-icon": (LINE, {"accountIcon": f"{ICON}EndFragment"}, {}),
    "no-icon": (LINE, {"accountIcon": ""}, {"accountIcon": ""}),
    "stage-in-the-path": (f"/stage{LINE}", {}, {}),
    "fb": (FB, {"accountType": "fb"}, {"accountType": "fb"}),
    "wechat": (WECHAT, {"accountType": "wechat", "appId": "wx1"}, {"accountType": "wechat", "appId": "wx1"}),
    "wechat-encrypted": (
        WECHAT,
        {"accountType": "wechat", "appId": "wx1", "encodingAesKey": "aB0" + "c" * 40},
        {"accountType": "wechat", "appId": "wx1"},
    ),
    "wechat-not-encrypted": (
        WECHAT,
        {"accountType": "wechat", "appId": "wx1", "encodingAesKey": ""},
        {"accountType": "wechat", "appId": "wx1"},
    ),
    "no-key-of-another-kind": (LINE, {"encodingAesKey": ""}, {}),
    "null-key-of-another-kind": (LINE, {"encodingAesKey": None}, {}),
    "appId-of-another-kind": (LINE, {"appId": "app"}, {"appId": "app"}),
    "long-credentials": (LINE, LONG := {"accountToken": "t" * 1000, "accountSecret": "~" * 1000}, LONG),
    "no-name": (LINE, {"accountName": ""}, {"accountName": ""}),
    "no-credentials": (LINE, NONE := {"accountToken": "", "accountSecret": ""}, NONE),
    "unknown-fields": (LINE, {"unknown": {"a": [1]}, "account_name": "x"}, {}),
    "A" * 64: (LINE, {}, {}),
    "-_-": (LINE, {}, {}),
}
QUERIES = {
    "letter-case": lambda url: url.replace("adminid", "adminId").replace("accountid", "ACCOUNTID"),
    "another-host": lambda url: url.replace("chat.example.com", "dev.example.com:8443"),
    "more-in-the-query": lambda url: f"{url}&x=%20",
}


def test_accepts(cloud, subtests):
    for account_id, (path, sent, emitted) in ACCEPTED.items():
        ids = {"adminId": "0001", "accountId": account_id}
        url = webhook_url(ids, path)
        with subtests.test(account_id):
            assert cloud.call(create_account, account_fields(ids, accountWebhookUrl=url, **sent)) == ok()
            assert listed(cloud, ids) == [listed_account(ids, accountWebhookUrl=url, **emitted)]
    for account_id, spell in QUERIES.items():
        ids = {"adminId": "0001", "accountId": account_id}
        url = spell(webhook_url(ids))
        with subtests.test(account_id):
            assert cloud.call(create_account, account_fields(ids, accountWebhookUrl=url)) == ok()
            assert listed(cloud, ids) == [listed_account(ids, accountWebhookUrl=url)]


def test_accepts_an_adminid_with_a_blank(cloud):
    ids = {"adminId": "account id", "accountId": "a"}
    for number, blank in enumerate(("%20", "+", " ")):
        url = webhook_url({"adminId": f"account{blank}id", "accountId": f"a{number}"})
        body = account_fields({**ids, "accountId": f"a{number}"}, accountWebhookUrl=url)
        assert cloud.call(create_account, body, caller="account id") == ok()


def test_takes_a_form(cloud):
    assert cloud.call(create_account, form=EXAMPLE) == ok()
    assert listed(cloud) == [listed_account(NEW)]


def channel(account_type, path, **changes):
    return {**EXAMPLE, "accountType": account_type, "accountWebhookUrl": webhook_url(NEW, path), **changes}


def test_refuses(refuses, account, foreign):
    clones = ("unknown", foreign.ids["accountId"], NEW["accountId"], "#0001#a")
    refuses(
        create_account,
        [
            *(({**EXAMPLE, "accountClone": clone}, "accountClone not found") for clone in clones),
            ({**EXAMPLE, "accountClone": "a" * 65}, "accountClone must have at most 64 characters"),
            (account.fields, "accountId already exists"),
            (account_fields({**foreign.ids, "adminId": "0001"}), "accountId already exists"),
            ({**EXAMPLE, "accountType": "LINE"}, "accountType must be 'line', 'wechat' or 'fb'"),
            ({**EXAMPLE, "accountName": "n" * 201}, "accountName must have at most 200 characters"),
            ({**EXAMPLE, "accountToken": "a b"}, f"accountToken {NOT_ALLOWED}"),
            ({**EXAMPLE, "accountSecret": "密"}, f"accountSecret {NOT_ALLOWED}"),
            ({**EXAMPLE, "accountSecret": "s" * 1001}, "accountSecret must have at most 1000 characters"),
            ({**EXAMPLE, "accountIcon": "javascript:alert(1)"}, f"accountIcon {NOT_ALLOWED}"),
            ({**EXAMPLE, "accountWebhookUrl": ""}, f"{PATH.format(LINE, 'line')}; {SAME}"),
            ({**EXAMPLE, "accountWebhookUrl": "https://[bad/api"}, "accountWebhookUrl is no URL"),
            ({**EXAMPLE, "accountWebhookUrl": webhook_url(IDS)}, SAME),
            ({**EXAMPLE, "accountWebhookUrl": webhook_url({**NEW, "adminId": "0002"})}, SAME),
            ({**EXAMPLE, "accountWebhookUrl": URL.partition("&")[0]}, SAME),
            ({**EXAMPLE, "accountType": "fb"}, PATH.format(FB, "fb")),
            (channel("line", FB), PATH.format(LINE, "line")),
            (channel("wechat", WECHAT), "appId is required for accountType wechat"),
            (channel("wechat", WECHAT, appId=""), "appId is required for accountType wechat"),
            *(
                (channel("wechat", WECHAT, appId="wx1", encodingAesKey=key), f"encodingAesKey {NOT_ALLOWED}")
                for key in ("k" * 42, "k" * 44, "k" * 42 + "+", "k" * 42 + "測", "k" * 43 + "\n", " ")
            ),
            ({**EXAMPLE, "encodingAesKey": "k" * 43}, "encodingAesKey is only for accountType wechat"),
            (channel("fb", FB, encodingAesKey="k" * 43), "encodingAesKey is only for accountType wechat"),
        ],
    )


def test_an_operator_has_at_most_100_channels(cloud, account, refuses, monkeypatch):
    monkeypatch.setattr(accounts, "ACCOUNTS_LIMIT", 1)

    refuses(create_account, [(EXAMPLE, "An operator has at most 1 channels")])
    assert cloud.call(create_account, account_fields(OTHER_IDS), caller="0002") == ok()


SETTING = {"cros": {"endpoint": "https://cros.example.com/", "params": {"user_id": "a"}}}
FIRST, SECOND, THIRD = (f"{number}a324c456-be64-11ee-9326-de5eb83bcd1a" for number in (1, 2, 3))


def leading_to(first, second, third):
    """Return nodes with every kind of way to another scenario."""
    window = {"start": "09:00", "end": "18:00"}
    option = {"scenario_id": second, "nextnodeType": "snode", "multi_condition": []}
    ends = {"success": {"scenarioId": first}, "failed": {"scenarioId": third, "nextNodeId": ""}}
    later = [{"scenario_id": third, "reservationtime": 1, "window": window}]
    # Texts are the operator's; that one looks like a reference changes nothing.
    text = {"type": "text", "text": f"scenarioId {SECOND}"}
    return [
        node("next", nextScenario=second, reservations_config=later, template=text),
        node("branch", type="condition", template={}, condition_config={"config_url": "bytag", "options": [option]}),
        node("tap", flex_config=[{"replacement_str": "a", "scenarioId": second}], nextScenario=""),
        node("reply", userAction={"userReply": {"variable": {"scenarioId": {"name": "scenarioId"}}, "validate": ends}}),
        node("call", externalApi={"cros": {"enable": False, "responseSetting": ends}}),
        node("shop", nodeConst={"trackClicks": True}, type="flex", title="shop", template=SHOP),
    ]  # fmt: skip


SHOP = {
    "type": "bubble",
    "body": {
        "type": "box",
        "layout": "vertical",
        "contents": [{"type": "button", "action": {"type": "uri", "label": "s", "uri": "https://shop.example.com/"}}],
    },
}


@pytest.fixture
def source(cloud, account):
    """The documented channel with something of everything that is copied, and of what is not."""
    commit(Change(AccountTable, AccountTable.key(*IDS.values()), [AccountTable.setting.set(SETTING)]))
    saved = [
        scenario(SECOND, trigger="keyword", scenarioName="2", keywords=["keyword1", "keyword2"]),
        scenario(THIRD, trigger="follow", scenarioName="3"),
        scenario(FIRST, *leading_to(FIRST, SECOND, THIRD), trigger="error", scenarioName="1"),
    ]
    for body in saved:
        assert cloud.call(FUNCTIONS["save_scenario"], body) == ok()
    for number in range(3):
        tag = {"name": f"tag {number}", "color": "red-filter", "values": [str(number)]}
        assert cloud.call(FUNCTIONS["save_tag"], {**IDS, "tag": tag}) == ok()
    assert cloud.call(FUNCTIONS["save_variable"], {**IDS, "accountVariable": ["b", "a"]}) == ok()
    add_users(user_row())
    add_followers(1)
    return account


def rows_of(cloud, table, partition=TARGET):
    key = table.keys()[0].attr_name
    return [row for row in cloud.rows(table.name) if row[key] == partition]


def listing(cloud, name, ids=NEW):
    return cloud.call(FUNCTIONS[name], ids).body["Result"]["data"]


def test_a_copy_has_the_key_of_the_external_service_sealed_for_itself(cloud, account):
    setting = documented("update_account_external_api_config")
    assert cloud.call(FUNCTIONS["update_account_external_api_config"], setting).status == 200

    assert cloud.call(create_account, {**EXAMPLE, "accountClone": IDS["accountId"]}) == ok()

    cros = {"endpoint": "endPoint", "key": "key", "clientid": "clientId", "params": {"value": "employee_count"}}
    assert [listed(cloud, ids)[0]["setting"] for ids in (IDS, NEW)] == [{"cros": cros}] * 2
    stored = [AccountTable.find(*ids.values()).setting["cros"]["key"]["sealed"] for ids in (IDS, NEW)]
    assert len(set(stored)) == 2


def test_copies_the_configuration_under_new_ids(cloud, source):
    """Ways that led from one scenario to another lead from copy to copy; users stay where they are."""
    before = cloud.everything()

    assert cloud.call(create_account, {**EXAMPLE, "accountClone": IDS["accountId"]}) == ok()

    assert listed(cloud)[0]["setting"] == {
        "cros": {"endpoint": "https://cros.example.com/", "params": {"user_id": "a"}}
    }
    copied = {view["scenario"]["scenarioName"]: view for view in listing(cloud, "get_scenario")}
    ids = {name: copied[name]["id"] for name in ("1", "2", "3")}
    assert len({*ids.values(), FIRST, SECOND, THIRD}) == 6
    triggers = {"1": ("error", []), "2": ("keyword", ["keyword1", "keyword2"]), "3": ("follow", [])}
    for name, (trigger, keywords) in triggers.items():
        head = {"scenarioName": name, "iconUrlId": "", "trigger": trigger, "keywords": keywords}
        assert copied[name]["scenario"] == {"scenarioId": ids[name], **head}
    assert copied["1"]["nodes"] == leading_to(*ids.values())
    assert copied["1"]["createTime"] == SHOWN_NOW
    assert listing(cloud, "get_tag") == listing(cloud, "get_tag", IDS)
    assert listing(cloud, "get_variable") == ["b", "a"]
    assert sorted((row["keyword"], row["scenario_id"]) for row in rows_of(cloud, TriggerTable)) == sorted(
        [("", ids["1"]), ("keyword1", ids["2"]), ("keyword2", ids["2"]), ("", ids["3"])]
    )
    assert cloud.call(FUNCTIONS["get_chat_history"], NEW) == ok({"data": []})
    assert cloud.call(FUNCTIONS["get_user_count"], NEW) == ok({"data": 0})
    after = cloud.everything()
    assert all(row in after[name] for name in before for row in before[name])


def test_a_copy_of_an_empty_channel_is_empty(cloud, account):
    assert cloud.call(create_account, {**EXAMPLE, "accountClone": IDS["accountId"]}) == ok()

    assert [listing(cloud, name) for name in ("get_scenario", "get_tag", "get_variable")] == [[], [], []]


def left_by_a_broken_copy(since):
    """Put what is there when a copy was broken off half-way; it began at the given time."""
    left = ScenarioTable(
        account=TARGET, scenario_id="left", scenario_name="left", icon_url_id="", trigger="keyword",
        keywords=["left"], nodes=[], revision=1,
    )  # fmt: skip
    with Running("broken_off"):
        commit(*writes_of(left, []))
    commit(*(Put(TagTable(account=TARGET, colour_and_name=name, tag_name=name, color="", values=[])) for name in "ab"))
    commit(replace(VariableTable(account=TARGET, names=["left"])))
    segment = SegmentTable(
        account=TARGET, segment_id="left", segment_name="left", mode="CVKey", conditions=[], order_id="7",
        is_default=False, scenario_id="", members=0,
    )  # fmt: skip
    commit(
        Put(FormTable(account=TARGET, form_id="left", form_name="left", fields=["left"])),
        Put(IconTable(account=TARGET, icon_id="left", icon_name="left", url="https://img.example.com/left.png")),
        replace(segment),
        Put(NameTable(account=TARGET, place="segment#left", owner="left")),
    )
    ids = {"account_id": NEW["accountId"], "admin_id": NEW["adminId"]}
    commit(Put(AccountIdTable(**ids, claim="left", copied_since=since)))


def test_an_id_is_taken_while_a_copy_is_made_under_it(account, foreign, refuses):
    left_by_a_broken_copy(NOW - timedelta(seconds=119))

    clone = {**EXAMPLE, "accountClone": IDS["accountId"]}
    refuses(create_account, [(EXAMPLE, "accountId already exists"), (clone, "accountId already exists")])
    theirs = account_fields({**NEW, "adminId": "0002"})
    refuses(create_account, [(theirs, "accountId already exists")], caller="0002")


@pytest.mark.parametrize("clone", [True, False], ids=["as a copy", "empty"])
def test_removes_what_a_broken_copy_left(cloud, source, clone):
    left_by_a_broken_copy(NOW - timedelta(seconds=120))

    assert cloud.call(create_account, {**EXAMPLE, "accountClone": IDS["accountId"] if clone else ""}) == ok()

    names = {view["scenario"]["scenarioName"] for view in listing(cloud, "get_scenario")}
    assert names == ({"1", "2", "3"} if clone else set())
    assert listing(cloud, "get_tag") == (listing(cloud, "get_tag", IDS) if clone else [])
    assert listing(cloud, "get_variable") == (["b", "a"] if clone else [])
    assert "left" not in {row["keyword"] for row in rows_of(cloud, TriggerTable)}
    gone = (FormTable, IconTable, SegmentTable, NameTable)
    assert [rows_of(cloud, table) for table in gone] == [[], [], [], []]
    versions = {row["scenario"] for row in cloud.rows("scenario-versions")}
    assert f"{TARGET}#left" not in versions
    assert {"account_id": NEW["accountId"], "admin_id": "0001"} in cloud.rows("account-ids")


def test_an_id_that_somebody_takes_at_the_same_moment(cloud, refuses):
    def meanwhile(call):
        if call.action == "Encrypt":
            commit(Put(AccountIdTable(account_id=NEW["accountId"], admin_id="0002")))

    aws.observers.append(meanwhile)
    answer = cloud.call(create_account, EXAMPLE)
    aws.observers.remove(meanwhile)

    assert answer == refused("accountId already exists")
    assert {name: rows for name, rows in cloud.everything().items() if rows} == {
        "account-ids": [{"account_id": NEW["accountId"], "admin_id": "0002"}]
    }
