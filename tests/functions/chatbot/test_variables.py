from contextlib import contextmanager
from datetime import timedelta

from chatbot import variables
from chatbot.tables import VariableTable
from functions.chatbot.delete_variable import delete_variable
from functions.chatbot.get_variable import get_variable
from functions.chatbot.save_variable import save_variable
from kernel import aws, clock, running
from kernel.audit import digest
from kernel.tables import commit, replace
from tests.functions.chatbot.examples import IDS, NOW, PARTITION, audited, documented, ok, refused


def save(cloud, *names):
    assert cloud.call(save_variable, {**IDS, "accountVariable": list(names)}) == ok()


def listed(cloud, ids=IDS):
    return cloud.call(get_variable, ids, caller=ids["adminId"]).body["Result"]["data"]


def test_saves_lists_and_deletes_the_documented_variable(cloud, account):
    assert cloud.call(get_variable, IDS) == ok({"data": []})
    assert cloud.call(save_variable, documented("save_variable")) == ok()
    assert cloud.call(get_variable, IDS) == ok({"data": ["var2"]})
    assert cloud.call(delete_variable, documented("delete_variable")) == ok()
    assert cloud.call(get_variable, IDS) == ok({"data": []})


def test_lists_in_the_order_of_creation(cloud, account, foreign):
    save(cloud, "employee_count", "apply_count")
    save(cloud, "變數", "apply_count", "a", " a ", "A")

    assert cloud.call(get_variable, IDS) == ok({"data": ["employee_count", "apply_count", "變數", "a", "A"]})
    assert listed(cloud, foreign.ids) == []
    assert cloud.call(delete_variable, {**IDS, "accountVariable": ["apply_count", "a ", "apply_count"]}) == ok()
    assert listed(cloud) == ["employee_count", "變數", "A"]
    save(cloud, "apply_count")
    assert listed(cloud) == ["employee_count", "變數", "A", "apply_count"]


def test_leaves_audit_rows_only_for_changes(cloud, account):
    save(cloud, "a")
    before = cloud.everything()
    save(cloud, "a")
    assert cloud.everything() == before
    with clock.frozen(NOW + timedelta(minutes=1)):
        assert cloud.call(delete_variable, {**IDS, "accountVariable": ["a"]}) == ok()

    rows = audited(cloud, "variables")
    known = {"tenant": "0001", "actor": "0001", "subject": "variables"}
    none, one = digest([]), digest(["a"])
    save_time, delete_time = "2024-01-28T06:41:29.006Z", "2024-01-28T06:42:29.006Z"
    assert rows == [
        {**known, "operation": "save_variable", "before": none, "after": one, "created_at": save_time},
        {
            **known,
            "operation": "delete_variable",
            "before": one,
            "after": none,
            "created_at": "2024-01-28T06:42:29.006Z",
        },
    ]
    (row,) = cloud.rows("variables")
    wanted = {"account": PARTITION, "version": 2, "created_at": save_time, "updated_at": delete_time}
    assert row == {**wanted, "names": row["names"]}


def test_refuses(cloud, account, foreign, refuses, monkeypatch):
    save(cloud, "a")
    flaws = {
        "accountVariable must have at least 1 item": [],
        "accountVariable[1] must have at least 1 character": ["b", " "],
        "accountVariable[0] must be a valid string": [1, "b"],
        "accountVariable[0] must have at most 100 characters": ["n" * 101],
    }
    for operation in (save_variable, delete_variable):
        refuses(operation, [({**IDS, "accountVariable": names}, message) for message, names in flaws.items()])
    unknown = "accountVariable[{}] is not a variable of this channel"
    refuses(
        delete_variable,
        [
            ({**IDS, "accountVariable": ["a", "A"]}, unknown.format(1)),
            ({**IDS, "accountVariable": ["b", "a", "c"]}, f"{unknown.format(0)}; {unknown.format(2)}"),
        ],
    )
    refuses(delete_variable, [({**foreign.ids, "accountVariable": ["a"]}, unknown.format(0))], caller="0002")
    monkeypatch.setattr(variables, "NAMES_LIMIT", 2)
    too_many = "accountVariable would make more than 2 variables"
    refuses(save_variable, [({**IDS, "accountVariable": ["b", "c"]}, too_many)])


@contextmanager
def others_saving(times):
    """Let somebody else save a name each time the operation has read the names."""
    names = [f"other {number}" for number in range(times)]
    table = VariableTable.physical_name()

    def meanwhile(call):
        # The other's own reading is a call too, after which the name is gone from the list.
        if call.action == "GetItem" and call.payload["TableName"] == table and running._current and names:
            name, current = names.pop(0), running._current
            running._current = None
            row = VariableTable.find(PARTITION) or VariableTable(account=PARTITION, names=[])
            row.names = [*row.names, name]
            commit(replace(row))
            running._current = current

    aws.observers.append(meanwhile)
    yield
    aws.observers.remove(meanwhile)


def test_names_saved_at_the_same_moment_all_stay(cloud, account):
    with others_saving(3):
        save(cloud, "mine")

    assert listed(cloud) == ["other 0", "other 1", "other 2", "mine"]


def test_gives_up_when_somebody_else_never_stops(cloud, account):
    with others_saving(100):
        answer = cloud.call(save_variable, documented("save_variable"))

    assert answer == refused("changed by somebody else meanwhile, or already there")
    assert listed(cloud) == ["other 0", "other 1", "other 2", "other 3"]
    assert [row["operation"] for row in cloud.rows("audit")] == ["create_account"]
