"""Forms of a channel, and what users filled into them."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from chatbot import forms
from chatbot.tables import FormEntryTable, FormTable, VariableTable
from functions.chatbot.delete_form import delete_form
from functions.chatbot.get_form import get_form
from functions.chatbot.get_user_form import get_user_form
from functions.chatbot.save_form import save_form
from kernel import aws, secrets
from kernel.audit import digest
from kernel.tables import Delete, Put, commit, replace
from tests.functions.chatbot.examples import (
    IDS,
    PARTITION,
    USER_ID,
    audited,
    documented,
    ok,
    refused,
)

EXAMPLE = documented("save_form")
UUID1 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-1[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
NO_KEY = refused("lastEvaluatedKey is not a key of this list")
AT = datetime(2024, 1, 22, 7, 27, 29, 743000, tzinfo=UTC)
CONTEXT = {**IDS, "userId": USER_ID}


@pytest.fixture(autouse=True)
def names(account):
    commit(replace(VariableTable(account=PARTITION, names=["employee_count", "apply_count", "apply_tel", "電話"])))


def save(cloud, name="testname", *names):
    answer = cloud.call(save_form, {**IDS, "name": name, "fields": [{"var_name": one} for one in names]})
    return answer.body["Result"]["data"]


def listed(cloud, ids=IDS):
    return cloud.call(get_form, ids, caller=ids["adminId"]).body["Result"]["data"]


def form_row(form_id="7159da30-b8f9-11ee-97a4-4e4b96481df1", name="test", names=("apply_count", "apply_tel")):
    return FormTable(account=PARTITION, form_id=form_id, form_name=name, fields=list(names))


def fill(form, at=AT, user_id=USER_ID, **values):
    commit(forms.entry(PARTITION, user_id, form, values, at))


def test_saves_the_documented_form(cloud):
    answer = cloud.call(save_form, EXAMPLE)

    form_id = answer.body["Result"]["data"]["id"]
    assert UUID1.fullmatch(form_id)
    form = {"id": form_id, "name": "testname", "fields": EXAMPLE["fields"]}
    assert answer == ok({"data": form})
    assert cloud.call(get_form, IDS) == ok({"data": [form]})
    state = {"name": "testname", "fields": ["employee_count", "apply_count"]}
    known = {"tenant": "0001", "actor": "0001", "subject": f"form {form_id}"}
    assert audited(cloud, f"form {form_id}") == [
        {**known, "operation": "save_form", "after": digest(state), "created_at": "2024-01-28T06:41:29.006Z"}
    ]


def test_every_call_makes_a_form_and_fields_keep_their_order(cloud, foreign):
    first = save(cloud, " a ", "apply_tel", " employee_count ", "電話", "apply_tel")
    second = save(cloud, "a", "電話")

    assert first["name"] == "a"
    assert [field["var_name"] for field in first["fields"]] == ["apply_tel", "employee_count", "電話", "apply_tel"]
    assert sorted(listed(cloud), key=lambda form: form["id"]) == sorted([first, second], key=lambda form: form["id"])
    assert first["id"] != second["id"]
    assert listed(cloud, foreign.ids) == []


def test_saving_refuses(refuses):
    def with_fields(*fields):
        return {**EXAMPLE, "fields": list(fields)}

    field = {"var_name": "apply_count"}
    unknown = "is not a variable of this channel"
    refuses(
        save_form,
        [
            ({**EXAMPLE, "name": " "}, "name must have at least 1 character"),
            ({**EXAMPLE, "name": "n" * 201}, "name must have at most 200 characters"),
            (with_fields(), "fields must have at least 1 item"),
            (with_fields(*[field] * 101), "fields must have at most 100 items"),
            (with_fields({}), "fields[0].var_name is required"),
            (with_fields(field, "apply_count"), "fields[1] must be an object"),
            (with_fields({"var_name": 1}), "fields[0].var_name must be a valid string"),
            (with_fields({"varName": "apply_count"}), "fields[0].var_name is required"),
            (with_fields({"var_name": "Apply_count"}), f"fields[0].var_name {unknown}"),
            (
                with_fields({"var_name": "x"}, field, {"var_name": "y"}),
                f"fields[0].var_name {unknown}; fields[2].var_name {unknown}",
            ),
            ({**IDS}, "name is required; fields is required"),
        ],
    )


def test_deletes_the_documented_form_and_keeps_what_was_filled_in(cloud):
    form = form_row(documented("delete_form")["formId"])
    commit(Put(form))
    fill(form, apply_count="2", apply_tel="08-1234-343")

    assert cloud.call(delete_form, documented("delete_form")) == ok()

    assert listed(cloud) == []
    assert [one["formName"] for one in cloud.call(get_user_form, IDS).body["Result"]["data"]] == ["test"]
    state = {"name": "test", "fields": ["apply_count", "apply_tel"]}
    (entry,) = audited(cloud, f"form {form.form_id}")
    assert (entry["operation"], entry["before"], "after" in entry) == ("delete_form", digest(state), False)


def test_deletes_several_or_none(cloud, refuses, foreign):
    first, second, third = (save(cloud, name, "apply_tel")["id"] for name in "abc")
    unknown = "is not a form of this channel"
    refuses(
        delete_form,
        [
            ({**IDS, "formId": "x"}, f"formId {unknown}"),
            ({**IDS, "formId": ["x"]}, f"formId {unknown}"),
            ({**IDS, "formId": [first, "x", second, "y"]}, f"formId[1] {unknown}; formId[3] {unknown}"),
            ({**IDS, "formId": []}, "formId must have at least 1 item"),
            ({**IDS, "formId": ["a"] * 51}, "formId must have at most 50 items"),
            ({**IDS, "formId": ""}, "formId[0] must have at least 1 character"),
            ({**IDS, "formId": 1}, "formId must be a valid array"),
            ({**IDS, "formId": [first, None]}, "formId[1] must be a valid string"),
            ({**IDS, "formId": "f" * 65}, "formId[0] must have at most 64 characters"),
        ],
    )
    refuses(delete_form, [({**foreign.ids, "formId": first}, f"formId {unknown}")], caller="0002")

    assert cloud.call(delete_form, {**IDS, "formId": [first, third, first]}) == ok()
    assert [form["id"] for form in listed(cloud)] == [second]


def test_a_form_that_somebody_else_deletes_meanwhile_stays_deleted(cloud):
    first, second = (save(cloud, name, "apply_tel")["id"] for name in "ab")

    def meanwhile(call):
        if call.action == "BatchGetItem":
            aws.observers.remove(meanwhile)
            commit(Delete(FormTable, FormTable.key(PARTITION, first)))

    aws.observers.append(meanwhile)

    answer = cloud.call(delete_form, {**IDS, "formId": [first, second]})

    assert answer == refused("changed by somebody else meanwhile, or already there")
    assert [form["id"] for form in listed(cloud)] == [second]


def test_a_long_list_comes_in_pages(cloud, monkeypatch):
    monkeypatch.setattr(forms, "_PAGE", 2)
    commit(*(Put(form_row(f"form-{number}", str(number))) for number in range(5)))

    pages, key = [], None
    while key != "":
        result = cloud.call(get_form, {**IDS, "lastEvaluatedKey": key}).body["Result"]
        key = result.pop("lastEvaluatedKey", "")
        pages.append([form["name"] for form in result["data"]])
    assert pages == [["0", "1"], ["2", "3"], ["4"]]
    assert cloud.call(get_form, {**IDS, "lastEvaluatedKey": "x"}) == NO_KEY


def test_names_finds_forms_by_id(account):
    commit(Put(form_row("a")), Put(form_row("b")))

    found = forms.named(PARTITION, ["b", "x", "a", "b", "", "f" * 2000])

    assert {form_id: form.form_id for form_id, form in found.items()} == {"a": "a", "b": "b"}
    assert forms.named(PARTITION, []) == {}


def test_lists_the_documented_submission(cloud):
    assert cloud.call(get_user_form, IDS) == ok({"data": []})

    fill(form_row(), apply_count="2", apply_tel="08-1234-343", employee_count="not of this form")

    submission = {
        "userId": USER_ID,
        "formId": "7159da30-b8f9-11ee-97a4-4e4b96481df1",
        "formName": "test",
        "formData": {"apply_count": "2", "apply_tel": "08-1234-343"},
        "createTime": "2024-01-22 07:27:29.743",
    }
    assert cloud.call(get_user_form, IDS) == ok({"data": [submission]})


def test_sealed_answers_are_shown_to_the_owner_and_kept_encrypted(cloud, foreign):
    sealed = {"sealed": secrets.encrypt("A123456789", {**CONTEXT, "variable": "apply_tel"})}
    fill(form_row(), apply_count="2", apply_tel=sealed)

    (shown,) = cloud.call(get_user_form, IDS).body["Result"]["data"]

    assert shown["formData"] == {"apply_count": "2", "apply_tel": "A123456789"}
    (row,) = (FormEntryTable.of_item(item) for item in FormEntryTable.every_item(PARTITION))
    assert "A123456789" not in json.dumps(row.answers)
    assert cloud.call(get_user_form, foreign.ids, caller="0002") == ok({"data": []})


def test_a_repeated_event_leaves_one_entry(cloud):
    for _ in range(2):
        fill(form_row(), apply_count="1")
    fill(form_row(), apply_count="1", user_id="Ub")
    fill(form_row("other"), apply_count="1")

    assert len(cloud.call(get_user_form, IDS).body["Result"]["data"]) == 3


def submissions(cloud, **body):
    """Return the times of the pages, in milliseconds after the first."""
    pages, key = [], None
    while key != "":
        result = cloud.call(get_user_form, {**IDS, **body, "lastEvaluatedKey": key}).body["Result"]
        key = result.pop("lastEvaluatedKey", "")
        pages.append([int(one["formData"]["apply_count"]) for one in result["data"]])
    return pages


@pytest.fixture
def filled():
    """Seven submissions, every third of another form."""
    for number in range(7):
        form = form_row("b") if number % 3 == 0 else form_row("a")
        fill(form, AT + timedelta(milliseconds=number), apply_count=str(number))


def test_the_latest_comes_first_in_pages(cloud, filled, monkeypatch):
    assert (
        submissions(cloud)
        == submissions(cloud, formId="")
        == submissions(cloud, formId=None)
        == [[6, 5, 4, 3, 2, 1, 0]]
    )
    monkeypatch.setattr(forms, "_ENTRIES_A_PAGE", 3)
    assert submissions(cloud) == [[6, 5, 4], [3, 2, 1], [0]]
    assert cloud.call(get_user_form, {**IDS, "lastEvaluatedKey": "x"}) == NO_KEY


def test_a_form_is_picked_out(cloud, filled, monkeypatch):
    assert submissions(cloud, formId="b") == [[6, 3, 0]]
    assert submissions(cloud, formId="unknown") == [[]]
    monkeypatch.setattr(forms, "_ENTRIES_A_READ", 2)
    assert submissions(cloud, formId="b") == [[6, 3, 0]]
    monkeypatch.setattr(forms, "_ENTRIES_A_PAGE", 2)
    assert submissions(cloud, formId="b") == [[6, 3], [0]]
    # A call reads so many rows and no more, so a page may be empty and still not the last.
    monkeypatch.setattr(forms, "_ENTRIES_A_SEARCH", 2)
    assert submissions(cloud, formId="b") == [[6], [3], [], [0]]
    assert cloud.call(get_user_form, {**IDS, "formId": 1}) == refused("formId must be a valid string")


def test_a_page_is_as_large_as_an_answer_may_be(cloud, filled, monkeypatch):
    monkeypatch.setattr(forms, "_PAGE_BYTES", 300)
    pages = submissions(cloud)

    assert [number for page in pages for number in page] == [6, 5, 4, 3, 2, 1, 0]
    assert {len(page) for page in pages} == {1}
