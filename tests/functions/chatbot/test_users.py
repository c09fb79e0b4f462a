import json
from datetime import UTC, datetime, timedelta

from chatbot import users
from functions.chatbot.get_user_count import get_user_count
from functions.chatbot.get_users_list import get_users_list
from tests.functions.chatbot.examples import (
    IDS,
    PARTITION,
    USER_ID,
    Calls,
    add_followers,
    add_users,
    documented,
    ok,
    user_row,
)

FOLLOWED = datetime(2024, 1, 28, 6, 4, 25, 693000, tzinfo=UTC)
MALFORMED = "lastEvaluatedKey is not a key of this list"
NO_PLACE = "lastEvaluatedKey.usrid_acstm must look like #userId#followTime"


def view(user_id=USER_ID, **changes):
    known = {
        "userId": user_id,
        "userName": "Rex曾",
        "userPicture": "https://profile.example.com/0hFAKEPICTUREID",
        "accountType": "line",
        "accountStatus": "0",
        "followTime": "2024-01-28 06:04:25.693",
        "createTime": "2024-01-28 06:04:25.695",
    }
    return {**known, **changes}


def key_of(user_id, time="2024-01-28 06:04:25.693", partition=PARTITION):
    return {"adm_acc_id": {"S": partition}, "usrid_acstm": {"S": f"#{user_id}#{time}"}}


def listed(cloud, **more):
    """Returns what is listed: ids, count, key."""
    answer = cloud.call(get_users_list, {**IDS, **more})
    result = answer.body["Result"]
    assert answer == ok(
        {**result, "data": [view(user["userId"], userName=user["userName"]) for user in result["data"]]}
    )
    return [user["userId"] for user in result["data"]], result["count"], result["lastEvaluatedKey"]


def numbered(*numbers):
    return [f"U{number:032x}" for number in numbers]


def test_lists_the_documented_user(cloud, account):
    add_users(user_row(account_status="1", created_at=FOLLOWED))
    add_followers(1)

    wanted = view(accountStatus="1", createTime="2024-01-28 06:04:25.693")
    assert cloud.call(get_users_list, IDS) == ok({"data": [wanted], "count": 1, "lastEvaluatedKey": None})
    assert cloud.call(get_user_count, IDS) == ok({"data": 1})


def test_a_channel_without_users(cloud, account, foreign):
    add_users(user_row(partition="#0002#mwcv12niwx-35n3-o43e-jroh-g9g1ec4c22b4151"))
    add_followers(1, partition="#0002#mwcv12niwx-35n3-o43e-jroh-g9g1ec4c22b4151")

    assert cloud.call(get_users_list, IDS) == ok({"data": [], "count": 0, "lastEvaluatedKey": None})
    assert cloud.call(get_user_count, IDS) == ok({"data": 0})
    assert cloud.call(get_user_count, foreign.ids, caller="0002") == ok({"data": 1})


def test_counts_followers_over_all_shards(cloud, account):
    for shard in range(8):
        add_followers(shard, shard)

    assert cloud.call(get_user_count, IDS) == ok({"data": 28})


def test_lists_by_user_then_by_follow_time(cloud, account):
    later = FOLLOWED + timedelta(days=1)
    add_users(user_row("Ub"), user_row("Ua", follow_time=later), user_row("Ua"), user_row("UB"))

    result = cloud.call(get_users_list, IDS).body["Result"]["data"]
    assert [(user["userId"], user["followTime"]) for user in result] == [
        ("UB", "2024-01-28 06:04:25.693"),
        ("Ua", "2024-01-28 06:04:25.693"),
        ("Ua", "2024-01-29 06:04:25.693"),
        ("Ub", "2024-01-28 06:04:25.693"),
    ]


def test_has_100_users_a_page_and_goes_on_with_row_101(cloud, account):
    add_users(*(user_row(user_id) for user_id in numbered(*range(100))))
    assert listed(cloud) == (numbered(*range(100)), 0, None)

    add_users(user_row(*numbered(100)))
    add_followers(101)
    key = key_of(*numbered(99))

    with Calls() as calls:
        assert listed(cloud) == (numbered(*range(100)), 101, key)
    # Whether there is a further page is seen without asking for it.
    assert calls == ["dynamodb GetItem", "dynamodb Query", "dynamodb Query"]
    for spelling in (key, json.dumps(key), {**key, "unknown": 1}):
        assert listed(cloud, lastEvaluatedKey=spelling) == (numbered(100), 101, None)
    # The first page in every spelling.
    for spelling in (None, "", "null"):
        assert listed(cloud, lastEvaluatedKey=spelling)[0] == numbered(*range(100))
    form = {**IDS, "lastEvaluatedKey": json.dumps(key)}
    assert [user["userId"] for user in cloud.call(get_users_list, form=form).body["Result"]["data"]] == numbered(100)
    # A search has pages as well, and both keep their place when its row has gone.
    assert listed(cloud, keywords="rex") == (numbered(*range(100)), 101, key)
    assert listed(cloud, keywords="rex", lastEvaluatedKey=key) == (numbered(100), 101, None)
    assert listed(cloud, lastEvaluatedKey=key_of(numbered(99)[0] + "0")) == (numbered(100), 101, None)
    assert listed(cloud, lastEvaluatedKey=key_of("V")) == ([], 101, None)


SEARCHES = {
    "": "abcd",
    " , ,, ": "abcd",
    "rex": "ab",
    "REX": "ab",
    "曾": "a",
    "straße": "c",
    "STRASSE": "c",
    "nobody": "",
    "rex,曾": "ab",
    "曾, smith ": "ad",
    "Ud": "d",
    "ud,ua": "ad",
    "rex 曾": "",
}


def test_finds_users_by_any_word_in_any_letter_case(cloud, account):
    names = {"Ua": "Rex曾", "Ub": "T-REX", "Uc": "Straße 5", "Ud": "Ann Smith"}
    add_users(*(user_row(user_id, user_name=name) for user_id, name in names.items()))
    add_followers(4)

    found = {words: listed(cloud, keywords=words) for words in SEARCHES}

    # The number of followers is the channel's, whatever is searched.
    assert found == {words: ([f"U{letter}" for letter in letters], 4, None) for words, letters in SEARCHES.items()}
    assert listed(cloud, keywords=None)[0] == list(names)


def test_a_search_stops_after_many_rows_and_can_go_on(cloud, account, monkeypatch):
    monkeypatch.setattr(users, "_ROWS_A_READ", 2)
    monkeypatch.setattr(users, "_ROWS_A_SEARCH", 4)
    add_users(*(user_row(user_id, user_name=f"n{user_id[-1]}") for user_id in numbered(*range(7))))

    assert listed(cloud, keywords="n1,n6") == (numbered(1), 0, key_of(*numbered(3)))
    assert listed(cloud, keywords="n1,n6", lastEvaluatedKey=key_of(*numbered(3))) == (numbered(6), 0, None)


REFUSED = {
    "lastEvaluatedKey.adm_acc_id is of another channel": [
        documented("get_users_list")["lastEvaluatedKey"]
        | {"adm_acc_id": {"S": "#0001#be0lhwj8k9h-ypq0-nghy-tb9r-drt7d7ccb35d239"}},
        json.dumps(key_of(USER_ID, partition="#0002#mwcv12niwx-35n3-o43e-jroh-g9g1ec4c22b4151")),
        key_of(USER_ID, partition=""),
    ],
    MALFORMED: ["x", "{", "[" * 100_000, '{"adm_acc_id": NaN', "#"],
    "lastEvaluatedKey must be an object": [1, True, "1", '"text"', [], "[]", False, 0],
    "lastEvaluatedKey.adm_acc_id is required; lastEvaluatedKey.usrid_acstm is required": [{}, "{}", {"S": "a"}],
    "lastEvaluatedKey.adm_acc_id must be an object": [{**key_of(USER_ID), "adm_acc_id": PARTITION}],
    "lastEvaluatedKey.usrid_acstm.S is required": [{**key_of(USER_ID), "usrid_acstm": {"N": "1"}}],
    "lastEvaluatedKey.usrid_acstm.S must be a valid string": [{**key_of(USER_ID), "usrid_acstm": {"S": 1}}],
    NO_PLACE: [
        {**key_of(USER_ID), "usrid_acstm": {"S": text}} for text in ("", "x", "#x", "x#y#z", "#測#" + "試" * 340)
    ],
}


def test_refuses(cloud, account, foreign, refuses):
    cases = [({**IDS, "lastEvaluatedKey": key}, message) for message, keys in REFUSED.items() for key in keys]
    cases += [({**IDS, "keywords": "k" * 1001}, "keywords must have at most 1000 characters")]
    cases += [({**IDS, "keywords": value}, "keywords must be a valid string") for value in (0, [], False, 1)]

    refuses(get_users_list, cases)
