from datetime import timedelta

from chatbot import tags
from functions.chatbot.delete_tag import delete_tag
from functions.chatbot.get_tag import get_tag
from functions.chatbot.save_tag import save_tag
from kernel import clock
from kernel.audit import digest
from tests.functions.chatbot.examples import IDS, NOW, PARTITION, audited, documented, ok, refused

EXAMPLE = documented("save_tag")
COLORS = (
    "bg-danger", "red-filter", "pink-filter", "orange-filter", "bg-warning", "yellow-filter", "bg-success",
    "dark-green-filter", "green-filter", "bg-info", "teal-filter", "primary-filter", "blue-filter", "skyblue-filter",
    "darkpurple-filter", "purple-filter", "bg-secondary", "grey-filter",
)  # fmt: skip
NO_COLOR = "tag.color must be " + ", ".join(f"'{color}'" for color in COLORS[:-1]) + f" or '{COLORS[-1]}'"
NO_KEY = refused("lastEvaluatedKey is not a key of this list")


def tag(name="tag name", color="red-filter", *values):
    return {"name": name, "color": color, "values": list(values)}


def save(cloud, *saved):
    for one in saved:
        assert cloud.call(save_tag, {**IDS, "tag": one}) == ok()


def listed(cloud, ids=IDS):
    return cloud.call(get_tag, ids, caller=ids["adminId"]).body["Result"]["data"]


def test_saves_lists_and_deletes_the_documented_tag(cloud, account):
    assert cloud.call(save_tag, EXAMPLE) == ok()
    assert cloud.call(get_tag, IDS) == ok({"data": [tag("tag name", "red-filter", "tag value")]})
    assert cloud.call(delete_tag, documented("delete_tag")) == ok()
    assert cloud.call(get_tag, IDS) == ok({"data": []})


def test_lists_the_documented_answer(cloud, account):
    save(cloud, {"name": "12", "color": "red-filter", "values": ["1324"]})

    assert cloud.call(get_tag, IDS) == ok({"data": [{"name": "12", "color": "red-filter", "values": ["1324"]}]})


def test_name_and_color_make_a_tag(cloud, account, foreign):
    save(cloud, tag("a", "red-filter", "1"), tag("a", "bg-info", "2"), tag("b#", "red-filter"), tag("A", "red-filter"))
    save(cloud, tag("a", "red-filter", "3", "3", "", "四"), tag(" a ", "bg-info"))

    in_order = [tag("a", "bg-info"), tag("A"), tag("a", "red-filter", "3", "3", "", "四"), tag("b#")]
    assert listed(cloud) == in_order
    assert listed(cloud, foreign.ids) == []
    # Values play no part, and what is not known is ignored.
    assert cloud.call(delete_tag, {**IDS, "tag": tag("a", "red-filter", "other")}) == ok()
    assert listed(cloud) == [in_order[0], in_order[1], in_order[3]]


def test_takes_every_color(cloud, account):
    save(cloud, *(tag("name", color) for color in COLORS))

    assert [one["color"] for one in listed(cloud)] == sorted(COLORS)


def test_keeps_when_it_was_made_and_leaves_audit_rows(cloud, account):
    save(cloud, EXAMPLE["tag"])
    with clock.frozen(NOW + timedelta(minutes=1)):
        save(cloud, tag("tag name", "red-filter", "other"))
        (row,) = cloud.rows("tags")
    with clock.frozen(NOW + timedelta(minutes=2)):
        assert cloud.call(delete_tag, documented("delete_tag")) == ok()

    assert row == {
        "account": PARTITION,
        "colour_and_name": "red-filter#tag name",
        "tag_name": "tag name",
        "color": "red-filter",
        "values": '["other"]',
        "created_at": "2024-01-28T06:41:29.006Z",
        "updated_at": "2024-01-28T06:42:29.006Z",
    }
    first, second = digest(["tag value"]), digest(["other"])
    known = {"tenant": "0001", "actor": "0001", "subject": "tag red-filter tag name"}
    assert audited(cloud, known["subject"]) == [
        {**known, "operation": "save_tag", "after": first, "created_at": "2024-01-28T06:41:29.006Z"},
        {**known, "operation": "save_tag", "before": first, "after": second, "created_at": "2024-01-28T06:42:29.006Z"},
        {**known, "operation": "delete_tag", "before": second, "created_at": "2024-01-28T06:43:29.006Z"},
    ]


def test_refuses(cloud, account, foreign, refuses):
    save(cloud, EXAMPLE["tag"])
    flaws = {
        "tag.name is required": {"color": "red-filter", "values": []},
        "tag.color is required": {"name": "a", "values": []},
        "tag.name must be a valid string": {**EXAMPLE["tag"], "name": 12},
        "tag.name must have at least 1 character": {**EXAMPLE["tag"], "name": " "},
        "tag.name must have at most 100 characters": {**EXAMPLE["tag"], "name": "n" * 101},
    }
    of_saving = {
        "tag.values is required": {"name": "a", "color": "red-filter"},
        "tag.values must be a valid array": {**EXAMPLE["tag"], "values": "a"},
        "tag.values[1] must be a valid string": {**EXAMPLE["tag"], "values": ["a", 1]},
        "tag.values[0] must have at most 300 characters": {**EXAMPLE["tag"], "values": ["v" * 301]},
        "tag.name is required; tag.color is required; tag.values is required": {},
    }
    colors = [{**EXAMPLE["tag"], "color": color} for color in ("", "red", "Red-Filter", None, 1)]

    cases = [({**IDS, "tag": body}, message) for message, body in flaws.items()]
    cases += [({**IDS, "tag": body}, NO_COLOR) for body in colors]
    refuses(save_tag, [*cases, *(({**IDS, "tag": body}, message) for message, body in of_saving.items())])
    unknown = [tag("other"), tag("tag name", "bg-info"), tag("Tag name")]
    refuses(delete_tag, [*cases, *(({**IDS, "tag": body}, "tag is not a tag of this channel") for body in unknown)])
    others = {**foreign.ids, "tag": EXAMPLE["tag"]}
    refuses(delete_tag, [(others, "tag is not a tag of this channel")], caller="0002")


def test_a_long_list_comes_in_pages(cloud, account, foreign, monkeypatch):
    monkeypatch.setattr(tags, "_PAGE", 2)
    save(cloud, *(tag(str(number)) for number in range(5)))

    pages, key = [], None
    for _ in range(3):
        result = cloud.call(get_tag, {**IDS, "lastEvaluatedKey": key}).body["Result"]
        key = result.pop("lastEvaluatedKey", None)
        pages.append([one["name"] for one in result["data"]])
    assert (pages, key) == ([["0", "1"], ["2", "3"], ["4"]], None)

    key = cloud.call(get_tag, {**IDS, "lastEvaluatedKey": ""}).body["Result"]["lastEvaluatedKey"]
    other_list = cloud.call(get_tag, {**foreign.ids, "lastEvaluatedKey": key}, caller="0002")
    # Changed anywhere, in signature or content, or made up.
    changed = [key[:-2], f"A{key[1:]}", key[:40] + ("A" if key[40] != "A" else "B") + key[41:], "x", "é", "=", "A" * 22]
    for answer in (other_list, *(cloud.call(get_tag, {**IDS, "lastEvaluatedKey": one}) for one in changed)):
        assert answer == NO_KEY
