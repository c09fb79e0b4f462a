from datetime import timedelta

from chatbot.accounts import credentials
from chatbot.tables import AccountTable
from functions.chatbot.update_account import update_account
from kernel import aws, clock
from kernel.tables import Change, commit
from tests.functions.chatbot.examples import (
    FUNCTIONS,
    IDS,
    NOT_ALLOWED,
    NOW,
    Calls,
    account_fields,
    documented,
    ok,
    refused,
    webhook_url,
)

EXAMPLE = documented("update_account")
URL = EXAMPLE["accountWebhookUrl"]
SAME = "accountWebhookUrl must carry the same adminid and accountid"
LINE_LOGIN = ("lineLoginChannelId", "lineLoginSecret")
ABSENT = dict.fromkeys(LINE_LOGIN, ...)


def update(cloud, **changes):
    assert cloud.call(update_account, documented("update_account", **changes)) == ok()


def listed(cloud):
    return cloud.call(FUNCTIONS["get_account"], {"adminId": "0001"}).body["Result"]["accounts"]


def secrets():
    stored = credentials(AccountTable.find(*IDS.values()))
    return {name: secret.reveal() for name, secret in stored.items()}


def test_replaces_the_documented_channel(cloud, account):
    (before,) = cloud.rows("accounts")

    with clock.frozen(NOW + timedelta(minutes=1)):
        update(cloud)

    shown = documented("update_account", **ABSENT, adminId=...)
    # The LINE Login fields can be written, not read.
    assert listed(cloud) == [{**shown, "appId": "", "setting": {}}]
    (after,) = cloud.rows("accounts")
    changed = {"account_icon": "https://img.example.com/q1KqEZ1.png", "account_name": "明日網會計師事務所"}
    changed |= {"credentials": after["credentials"], "version": 2, "updated_at": "2024-01-28T06:42:29.006Z"}
    assert after == {**before, **changed}
    entry = next(row for row in cloud.rows("audit") if row["operation"] == "update_account")
    names = ("tenant", "actor", "subject", "created_at")
    assert [entry[name] for name in names] == [
        "0001",
        "0001",
        f"account {IDS['accountId']}",
        "2024-01-28T06:42:29.006Z",
    ]
    assert entry["before"] != entry["after"]


def test_line_login_fields_stay_when_absent_and_go_when_blank(cloud, account):
    pair = {"accountToken": "fake-channel-token=", "accountSecret": "fake-channel-secret"}
    assert secrets() == pair

    update(cloud, lineLoginChannelId="1234", lineLoginSecret="login-secret")
    assert secrets() == {**pair, "lineLoginChannelId": "1234", "lineLoginSecret": "login-secret"}
    update(cloud, **ABSENT, accountToken="new-token")
    pair["accountToken"] = "new-token"
    assert secrets() == {**pair, "lineLoginChannelId": "1234", "lineLoginSecret": "login-secret"}
    update(cloud, **dict.fromkeys(LINE_LOGIN), accountToken="new-token")
    assert secrets() == {**pair, "lineLoginChannelId": "1234", "lineLoginSecret": "login-secret"}
    update(cloud, lineLoginChannelId="", lineLoginSecret=..., accountToken="new-token")
    assert secrets() == {**pair, "lineLoginSecret": "login-secret"}
    update(cloud, lineLoginChannelId=..., lineLoginSecret="other", accountToken="new-token")
    assert secrets() == {**pair, "lineLoginSecret": "other"}
    update(cloud, accountToken="new-token")
    assert secrets() == pair


WECHAT = {"adminId": "0001", "accountId": "wechat"}
WECHAT_FIELDS = account_fields(
    WECHAT, accountType="wechat", appId="wx1", accountWebhookUrl=webhook_url(WECHAT, "/api/wechat")
)
AES_KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"


def wechat_secrets():
    stored = credentials(AccountTable.find(*WECHAT.values()))
    return {name: secret.reveal() for name, secret in stored.items()}


def test_the_key_of_wechat_stays_when_absent_and_goes_when_blank(cloud):
    pair = {"accountToken": WECHAT_FIELDS["accountToken"], "accountSecret": WECHAT_FIELDS["accountSecret"]}
    assert cloud.call(FUNCTIONS["create_account"], {**WECHAT_FIELDS, "encodingAesKey": AES_KEY}) == ok()
    assert wechat_secrets() == {**pair, "encodingAesKey": AES_KEY}

    steps = [({}, AES_KEY), ({"encodingAesKey": "k" * 43}, "k" * 43), ({"encodingAesKey": None}, "k" * 43)]
    steps += [({"lineLoginChannelId": "", "lineLoginSecret": ""}, "k" * 43), ({"encodingAesKey": ""}, None)]
    for changes, kept in [*steps, ({}, None), ({"encodingAesKey": AES_KEY}, AES_KEY)]:
        assert cloud.call(update_account, {**WECHAT_FIELDS, **changes}) == ok()
        assert wechat_secrets() == {**pair, **({"encodingAesKey": kept} if kept else {})}
    (shown,) = listed(cloud)
    assert "encodingAesKey" not in shown
    assert AES_KEY not in str(shown)
    assert AES_KEY not in str(cloud.everything())


def test_opens_the_stored_secrets_only_when_it_has_to_keep_some(cloud, account):
    for changes, kms in (({}, ["kms Encrypt"]), (ABSENT, ["kms Decrypt", "kms Encrypt"])):
        with Calls() as calls:
            update(cloud, **changes)
        assert calls == ["dynamodb GetItem", *kms, "dynamodb TransactWriteItems"]


def test_accepts(cloud, account):
    icon = EXAMPLE["accountIcon"]
    url = URL.replace("adminid", "AdminId").replace("chat.example.com", "other.example.com/v1")

    update(cloud, accountIcon=f"{icon}EndFragment", accountWebhookUrl=url, appId="app", accountClone="unknown")
    assert [(row["accountIcon"], row["accountWebhookUrl"], row["appId"]) for row in listed(cloud)] == [
        (icon, url, "app")
    ]
    update(cloud)
    assert [(row["accountWebhookUrl"], row["appId"]) for row in listed(cloud)] == [(URL, "")]
    assert cloud.call(update_account, form=documented("update_account", accountName="Form")) == ok()
    assert [row["accountName"] for row in listed(cloud)] == ["Form"]


def test_refuses(cloud, account, refuses):
    assert cloud.call(FUNCTIONS["create_account"], WECHAT_FIELDS) == ok()

    refuses(
        update_account,
        [
            ({**EXAMPLE, "accountType": "Line"}, "accountType must be 'line', 'wechat' or 'fb'"),
            (
                {**EXAMPLE, "accountType": "fb", "accountWebhookUrl": webhook_url(IDS, "/api/facebook")},
                "accountType cannot be changed",
            ),
            ({**EXAMPLE, "accountWebhookUrl": "https://[bad/api"}, "accountWebhookUrl is no URL"),
            ({**EXAMPLE, "accountWebhookUrl": webhook_url(WECHAT)}, SAME),
            ({**EXAMPLE, "accountIcon": "icon.png"}, f"accountIcon {NOT_ALLOWED}"),
            ({**EXAMPLE, "accountName": "n" * 201}, "accountName must have at most 200 characters"),
            ({**EXAMPLE, "lineLoginSecret": "s" * 1001}, "lineLoginSecret must have at most 1000 characters"),
            ({**WECHAT_FIELDS, "appId": ""}, "appId is required for accountType wechat"),
            ({**WECHAT_FIELDS, "encodingAesKey": "short"}, f"encodingAesKey {NOT_ALLOWED}"),
            ({**EXAMPLE, "encodingAesKey": AES_KEY}, "encodingAesKey is only for accountType wechat"),
            (account_fields({"adminId": "0001", "accountId": "new"}), "accountId not found"),
        ],
    )


def test_a_change_in_between_is_not_lost(cloud, account):
    def meanwhile(call):
        if call.action == "Encrypt":
            aws.observers.remove(meanwhile)
            key = AccountTable.key(*IDS.values())
            commit(Change(AccountTable, key, [AccountTable.version.set(2), AccountTable.account_name.set("Other")]))

    aws.observers.append(meanwhile)

    answer = cloud.call(update_account, EXAMPLE)

    assert answer == refused("changed by somebody else meanwhile, or already there")
    assert [row["accountName"] for row in listed(cloud)] == ["Other"]
    assert [row["operation"] for row in cloud.rows("audit")] == ["create_account"]
