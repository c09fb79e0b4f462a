"""The values that variables ever had, user by user, the oldest first."""

from datetime import UTC, datetime, timedelta

import pytest

from chatbot import forms, variable_history
from chatbot.conversation import Vault
from chatbot.tables import FormTable
from functions.chatbot.get_user_form import get_user_form
from functions.chatbot.get_user_variable_history import get_user_variable_history
from kernel.tables import commit
from tests.functions.chatbot.examples import ACCOUNT_ID, ADMIN_ID, IDS, PARTITION, ok, refused

AT = datetime(2023, 8, 22, 5, 8, 2, 164000, tzinfo=UTC)
SHOWN = "2023-08-22 05:08:02.164"
USER = "U339210b56885137347aaad361138927e"
DOCUMENTED = [("apply_name", "陳加一"), ("apply_tel", "0923590195"), ("apply_company", "是"), ("apply_count", "3")]


def store(user_id, *changes, at=AT, partition=PARTITION, event_id=""):
    commit(*variable_history.rows(partition, user_id, changes, at, event_id))


def listed(cloud, key=None):
    answer = cloud.call(get_user_variable_history, {**IDS, "lastEvaluatedKey": key})
    assert answer.status == 200
    return answer.body["Result"]


def test_lists_the_documented_values(cloud, account):
    assert cloud.call(get_user_variable_history, IDS) == ok({"data": []})
    store(USER, *DOCUMENTED)

    variable = {name: [{"value": value, "create_time": SHOWN}] for name, value in DOCUMENTED}
    assert cloud.call(get_user_variable_history, IDS) == ok({"data": [{"userid": USER, "variable": variable}]})


def test_the_oldest_value_comes_first(cloud, account, foreign):
    store("Ub", ("name", "third"), at=AT + timedelta(seconds=1))
    store("Ub", ("name", "first"), ("other", "x"), ("name", "second"))
    store("Ua", ("name", "of another user"))

    first, second = listed(cloud)["data"]

    assert (first["userid"], second["userid"]) == ("Ua", "Ub")
    assert [value["value"] for value in second["variable"]["name"]] == ["first", "second", "third"]
    assert cloud.call(get_user_variable_history, foreign.ids, caller="0002") == ok({"data": []})


def test_a_repeated_event_adds_nothing_and_another_one_does(cloud, account):
    for event_id in ("one", "one", "two"):
        store(USER, ("name", "value"), event_id=event_id)

    assert len(cloud.rows("variable-history")) == 2
    assert [row["user_id"] for row in cloud.rows("variable-history")] == [USER, USER]


def test_the_owner_sees_what_is_kept_encrypted(cloud, account):
    sealed = Vault(ADMIN_ID, ACCOUNT_ID, USER).seal("id_number", "A123456789")
    store(USER, ("id_number", {"sealed": sealed}))

    assert "A123456789" not in str(cloud.rows("variable-history"))
    (user,) = listed(cloud)["data"]
    assert user["variable"] == {"id_number": [{"value": "A123456789", "create_time": SHOWN}]}


# How many values the users have, and the users of the pages when four values make a page.
PAGES = [
    ([2, 2], [["a", "b"]]),
    ([2, 2, 2], [["a", "b"], ["c"]]),
    ([1, 2, 2, 1], [["a", "b"], ["c", "d"]]),
    ([4], [["a"]]),
    ([5], [["a"], ["a"]]),
    ([9, 1], [["a"], ["a"], ["a", "b"]]),
    ([1, 6, 1], [["a"], ["b"], ["b", "c"]]),
    ([], [[]]),
]


@pytest.mark.parametrize(("numbers", "wanted"), PAGES)
def test_a_page_holds_whole_users(cloud, account, monkeypatch, numbers, wanted):
    monkeypatch.setattr(variable_history, "VALUES_A_PAGE", 4)
    for letter, number in zip("abcd", numbers, strict=False):
        store(letter, *(("name", f"{letter}{place}") for place in range(number)))

    pages, values, key = [], [], None
    while key != "":
        result = listed(cloud, key)
        pages.append([user["userid"] for user in result["data"]])
        values += [value["value"] for user in result["data"] for value in user["variable"]["name"]]
        key = result.get("lastEvaluatedKey", "")

    assert pages == wanted
    assert values == [f"{letter}{place}" for letter, n in zip("abcd", numbers, strict=False) for place in range(n)]


def test_refuses(account, foreign, refuses):
    no_key = "lastEvaluatedKey is not a key of this list"
    refuses(
        get_user_variable_history,
        [({**IDS, "lastEvaluatedKey": "x"}, no_key), ({}, "adminId is required; accountId is required")],
    )
    refuses(get_user_variable_history, [({**IDS, "accountId": foreign.ids["accountId"]}, "accountId not found")])


def test_a_key_of_another_list_is_refused(cloud, account, monkeypatch):
    monkeypatch.setattr(variable_history, "VALUES_A_PAGE", 1)
    store(USER, *DOCUMENTED)
    key = listed(cloud)["lastEvaluatedKey"]

    assert cloud.call(get_user_variable_history, {**IDS, "lastEvaluatedKey": key[:-1]}) == refused(
        "lastEvaluatedKey is not a key of this list"
    )


def test_a_page_holds_a_bounded_number_of_encrypted_values(cloud, account, monkeypatch):
    monkeypatch.setattr(variable_history, "_SEALED_A_PAGE", 2)
    for user_id, number in (("a", 1), ("b", 2), ("c", 3)):
        vault = Vault(ADMIN_ID, ACCOUNT_ID, user_id)
        sealed = [("name", {"sealed": vault.seal("name", f"{user_id}{place}")}) for place in range(number)]
        store(user_id, ("plain", "x"), *sealed)

    pages, key = [], None
    while key != "":
        result = listed(cloud, key)
        pages.append([
            value["value"]
            for user in result["data"]
            for values in user["variable"].values()
            for value in values
        ])  # fmt: skip
        key = result.get("lastEvaluatedKey", "")

    assert pages == [["x", "a0"], ["x", "b0", "b1"], ["x", "c0", "c1"], ["c2"]]


def test_a_page_of_forms_holds_a_bounded_number_of_encrypted_answers(cloud, account, monkeypatch):
    monkeypatch.setattr(forms, "_SEALED_A_PAGE", 4)
    vault = Vault(ADMIN_ID, ACCOUNT_ID, USER)
    form = FormTable(account=PARTITION, form_id="f", form_name="form", fields=["one", "two"])
    for place in range(5):
        answers = {name: {"sealed": vault.seal(name, str(place))} for name in form.fields}
        commit(forms.entry(PARTITION, USER, form, answers, AT + timedelta(seconds=place)))

    pages, key = [], None
    while key != "":
        result = cloud.call(get_user_form, {**IDS, "lastEvaluatedKey": key}).body["Result"]
        pages.append([entry["formData"]["two"] for entry in result["data"]])
        key = result.get("lastEvaluatedKey", "")
    assert pages == [["4", "3"], ["2", "1"], ["0"]]
    # A form that is larger than a page is one.
    monkeypatch.setattr(forms, "_SEALED_A_PAGE", 1)
    assert len(cloud.call(get_user_form, IDS).body["Result"]["data"]) == 1
