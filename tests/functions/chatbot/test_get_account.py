from chatbot.tables import AccountTable
from functions.chatbot.get_account import get_account
from kernel.tables import Change, commit
from tests.functions.chatbot.examples import (
    FUNCTIONS,
    IDS,
    Calls,
    account_fields,
    listed_account,
    ok,
    refused,
    webhook_url,
)

FB = "/api/facebook"
# The documented channel, as getAccount shows it.
DOCUMENTED = {
    "accountId": "2bsb3y38l9d-gzhb-1jnq-tn7h-f3ci454dd2101",
    "accountName": "GaryFB_TEST",
    "accountType": "fb",
    "accountIcon": "https://img.example.com/CBzw1py.png",
    "accountWebhookUrl": webhook_url({"adminId": "0001", "accountId": "2bsb3y38l9d-gzhb-1jnq-tn7h-f3ci454dd2101"}, FB),
    "accountToken": "fake-page-token",
    "accountSecret": "fake-app-secret",
    "appId": "",
    "setting": {
        "cros": {
            "endpoint": "https://cros.example.com/api/cros/v1/place_order",
            "key": "fake-cros-key",
            "clientid": "2015010004",
            "params": {"user_id": "a"},
        }
    },
}


def test_lists_the_documented_channel(cloud):
    fields = {name: DOCUMENTED[name] for name in DOCUMENTED if name not in ("appId", "setting")}
    assert cloud.call(FUNCTIONS["create_account"], {"adminId": "0001", **fields}) == ok()
    key = AccountTable.key("0001", DOCUMENTED["accountId"])
    commit(Change(AccountTable, key, [AccountTable.setting.set(DOCUMENTED["setting"])]))

    assert cloud.call(get_account, {"adminId": "0001"}) == ok({"accounts": [DOCUMENTED]})


def test_lists_all_channels_of_the_operator_and_no_others(cloud, account, foreign):
    second, secrets = {"adminId": "0001", "accountId": "a-second"}, {"accountToken": "t2", "accountSecret": "s2"}
    assert cloud.call(FUNCTIONS["create_account"], account_fields(second, **secrets)) == ok()

    own = [listed_account(second, **secrets), listed_account(IDS)]
    others = [listed_account(foreign.ids, accountToken="foreign-token", accountSecret="foreign-secret")]
    assert cloud.call(get_account, {"adminId": "0001"}) == ok({"accounts": own})
    assert cloud.call(get_account, {"adminId": "0002"}, caller="0002") == ok({"accounts": others})


def test_an_operator_without_channels(cloud, foreign):
    assert cloud.call(get_account, {"adminId": "0001"}) == ok({"accounts": []})


def test_secrets_are_decrypted_once_while_the_function_lives(cloud, account):
    made = []
    for _ in range(2):
        with Calls() as calls:
            cloud.call(get_account, {"adminId": "0001"})
        made.append(calls)

    assert made == [["dynamodb Query", "kms Decrypt"], ["dynamodb Query"]]


def test_secrets_moved_to_another_channel_cannot_be_read(cloud, account, foreign):
    stored = AccountTable.find(*IDS.values()).credentials
    key = AccountTable.key(*foreign.ids.values())
    commit(Change(AccountTable, key, [AccountTable.credentials.set(stored)]))

    assert cloud.call(get_account, {"adminId": "0002"}, caller="0002") == refused("Internal error", 500)
