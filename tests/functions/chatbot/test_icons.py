"""Icons of a channel, and what becomes of them in a message."""

import re

import pytest

from chatbot import icons
from chatbot.tables import IconTable
from functions.chatbot.delete_icon_url import delete_icon_url
from functions.chatbot.get_icon_url import get_icon_url
from functions.chatbot.save_icon_url import save_icon_url
from kernel import aws
from kernel.audit import digest
from kernel.channels.line.validation import flaws_of_message
from kernel.tables import Delete, Put, commit
from tests.functions.chatbot.examples import IDS, NOT_ALLOWED, PARTITION, audited, documented, ok, refused

EXAMPLE = documented("save_icon_url")
UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
URL = "https://img.example.com/l4Hcviw.png"


def put(icon_id, name="name", url=URL):
    commit(Put(IconTable(account=PARTITION, icon_id=icon_id, icon_name=name, url=url)))


def save(cloud, *icons):
    body = {**IDS, "accountIconUrl": [{"name": name, "url": url} for name, url in icons]}
    assert cloud.call(save_icon_url, body) == ok()


def listed(cloud, ids=IDS):
    return cloud.call(get_icon_url, ids, caller=ids["adminId"]).body["Result"]["data"]


def test_saves_the_documented_icon(cloud, account):
    assert cloud.call(save_icon_url, EXAMPLE) == ok()

    (icon,) = listed(cloud)
    assert UUID4.fullmatch(icon["id"])
    assert icon == {"id": icon["id"], "name": "icon name", "url": URL}
    state = digest({"name": "icon name", "url": URL})
    known = {"tenant": "0001", "actor": "0001", "subject": f"icon {icon['id']}", "operation": "save_icon_url"}
    assert audited(cloud, known["subject"]) == [{**known, "after": state, "created_at": "2024-01-28T06:41:29.006Z"}]


def test_lists_the_documented_icon_although_nobody_could_save_it_now(cloud, account):
    put("218e8a16-e504-431b-aa0f-181810e859b3", "1", "2")

    listed = {"id": "218e8a16-e504-431b-aa0f-181810e859b3", "name": "1", "url": "2"}
    assert cloud.call(get_icon_url, IDS) == ok({"data": [listed]})


def test_saves_several(cloud, account, foreign):
    given = [(str(number), f"http://img.example.com/{number}?a=b#c") for number in range(49)] + [("48", URL)]

    save(cloud, *given)

    assert sorted((icon["name"], icon["url"]) for icon in listed(cloud)) == sorted(given)
    assert len({icon["id"] for icon in listed(cloud)}) == 50
    assert listed(cloud, foreign.ids) == []


def test_saving_refuses(account, refuses):
    def one(**changes):
        return {**IDS, "accountIconUrl": [{**EXAMPLE["accountIconUrl"][0], **changes}]}

    urls = [
        "",
        "2",
        "icon.png",
        "//img.example.com/a",
        "ftp://img.example.com/a",
        "https://",
        "https:///a",
        "http://?a",
    ]
    urls += ["https://img.example.com/a b", " https://img.example.com/a", "data:image/png;base64,AAAA", "https://a\nb"]
    icon = EXAMPLE["accountIconUrl"][0]
    good_then_bad = {**IDS, "accountIconUrl": [icon, {"name": "", "url": "x"}]}
    refuses(
        save_icon_url,
        [
            *((one(url=url), f"accountIconUrl[0].url {NOT_ALLOWED}") for url in urls),
            (one(url="https://a/" + "a" * 1991), "accountIconUrl[0].url must have at most 2000 characters"),
            (one(name=" "), "accountIconUrl[0].name must have at least 1 character"),
            (one(name="n" * 101), "accountIconUrl[0].name must have at most 100 characters"),
            (
                one(name=1, url=None),
                "accountIconUrl[0].name must be a valid string; accountIconUrl[0].url must be a valid string",
            ),
            (
                good_then_bad,
                f"accountIconUrl[1].name must have at least 1 character; accountIconUrl[1].url {NOT_ALLOWED}",
            ),
            ({**IDS, "accountIconUrl": []}, "accountIconUrl must have at least 1 item"),
            (
                {**IDS, "accountIconUrl": [icon] * 51},
                "accountIconUrl must have at most 50 items",
            ),
            ({**IDS, "accountIconUrl": [{}]}, "accountIconUrl[0].name is required; accountIconUrl[0].url is required"),
        ],
    )


def test_deletes_the_documented_icon(cloud, account):
    put(documented("delete_icon_url")["accountIconUrl"][0]["id"])

    assert cloud.call(delete_icon_url, documented("delete_icon_url")) == ok()

    assert listed(cloud) == []
    (entry,) = audited(cloud, "icon cd0b7895-05b1-4102-81fd-cfc4f92bc0ff")
    assert (entry["before"], "after" in entry) == (digest({"name": "name", "url": URL}), False)


def test_deletes_several_or_none(cloud, account, foreign, refuses):
    for icon_id in "abc":
        put(icon_id)

    def of(*ids):
        return {**IDS, "accountIconUrl": [{"id": icon_id} for icon_id in ids]}

    unknown = "is not an icon of this channel"
    refuses(
        delete_icon_url,
        [
            (of("a", "x", "y"), f"accountIconUrl[1].id {unknown}; accountIconUrl[2].id {unknown}"),
            (of(), "accountIconUrl must have at least 1 item"),
            (of(*"a" * 51), "accountIconUrl must have at most 50 items"),
            (of(""), "accountIconUrl[0].id must have at least 1 character"),
            (of(1), "accountIconUrl[0].id must be a valid string"),
            ({**IDS, "accountIconUrl": ["a"]}, "accountIconUrl[0] must be an object"),
            ({**IDS, "accountIconUrl": [{}]}, "accountIconUrl[0].id is required"),
        ],
    )
    refuses(delete_icon_url, [({**of("a"), **foreign.ids}, f"accountIconUrl[0].id {unknown}")], caller="0002")

    assert cloud.call(delete_icon_url, of("a", "c", "a")) == ok()
    assert [icon["id"] for icon in listed(cloud)] == ["b"]


def test_an_icon_that_somebody_else_deletes_meanwhile_stays_deleted(cloud, account):
    put("a")
    put("b")

    def meanwhile(call):
        if call.action == "BatchGetItem":
            aws.observers.remove(meanwhile)
            commit(Delete(IconTable, IconTable.key(PARTITION, "a")))

    aws.observers.append(meanwhile)

    answer = cloud.call(delete_icon_url, {**IDS, "accountIconUrl": [{"id": "a"}, {"id": "b"}]})

    assert answer == refused("changed by somebody else meanwhile, or already there")
    assert [icon["id"] for icon in listed(cloud)] == ["b"]


def test_a_long_list_comes_in_pages(cloud, account, monkeypatch):
    monkeypatch.setattr(icons, "_PAGE", 2)
    for icon_id in "abc":
        put(icon_id)

    first = cloud.call(get_icon_url, IDS).body["Result"]
    second = cloud.call(get_icon_url, {**IDS, "lastEvaluatedKey": first["lastEvaluatedKey"]}).body["Result"]

    assert [[icon["id"] for icon in page["data"]] for page in (first, second)] == [["a", "b"], ["c"]]
    assert "lastEvaluatedKey" not in second
    assert cloud.call(get_icon_url, {**IDS, "lastEvaluatedKey": "x"}) == refused(
        "lastEvaluatedKey is not a key of this list"
    )


FAMILY = "👨‍👩‍👧‍👦"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Annie", "Annie"),
        ("安妮", "安妮"),
        ("12345678901234567890", "12345678901234567890"),
        ("1234567890123456789 and more", "1234567890123456789"),
        (FAMILY * 12, f"{FAMILY}👨‍👩‍👧"),
        ("安" * 100, "安" * 20),
        ("x" * 19 + FAMILY, "x" * 19),
        ("LINE 客服", "客服"),
        ("my line bot", "my bot"),
        ("Online", "Online"),
        ("12345678901234567 liner", "12345678901234567 li"),
    ],
)
def test_an_icon_is_the_sender_of_a_message(account, name, shown):
    put("a", name)

    sender = icons.sender(PARTITION, "a")

    assert sender == {"name": shown, "iconUrl": URL}
    assert flaws_of_message({"type": "text", "text": "x", "sender": sender}) == []


def test_an_icon_without_a_name_that_line_takes_shows_only_its_picture(account):
    put("a", "LINE")

    assert icons.sender(PARTITION, "a") == {"iconUrl": URL}


def test_what_line_would_not_take_is_no_sender(account):
    for number, url in enumerate(("2", "http://img.example.com/a.png", "https://img.example.com/圖.png")):
        put(str(number), url=url)
        assert icons.sender(PARTITION, str(number)) is None, url
    for icon_id in ("gone", "", "i" * 3000):
        assert icons.sender(PARTITION, icon_id) is None
