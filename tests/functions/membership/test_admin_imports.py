import hashlib
import json

import pytest

from functions.membership.create_import import create_import
from functions.membership.get_import import get_import
from functions.membership.run_import import run_import
from functions.membership.set_import_state import set_import_state
from infra.discovery import declarations
from kernel import audit, aws, imports, wire
from kernel.imports import IMPORTS
from kernel.tables import Change, commit
from membership import pay_passwords
from membership.tables import ProductTable
from tests.shops import (
    ACTIVITY,
    IMAGE,
    MERCHANT,
    OTHER_MERCHANT,
    OWNER,
    PASSWORD,
    PHONE,
    STORED_VALUE,
    Shop,
    customer,
    furnish,
)
from tests.shops import office as call
from tests.shops import office_refused as refused

NOW = "2024-01-28T06:41:29.006+0000"
WHERE = {"merchant": "12"}
HERE = {**WHERE, "run": "1"}
ABOUT = {"id": 1, "created": NOW, "updated": NOW, "errors": [], "errorLink": None}
NOTHING = dict.fromkeys(("lines", "good", "existing", "wrong", "applied", "refused"), 0)
CARDS = """phone,nickname,cardId,principal,gift,password,openedAt
13800000007,忽略,3,100.00,20.5,,2019-12-14 20:57:08
13800000008,"小,红",3,,,E10ADC3949BA59ABBE56E057F20F883E,

13800000008,,4,0,0.00,,
"""


@pytest.fixture
def shop(cloud):
    furnish()
    furnish(OTHER_MERCHANT)
    return cloud


@pytest.fixture
def slow(monkeypatch):
    """A worker has time for one line a message."""
    monkeypatch.setattr(imports, "SECONDS_A_MESSAGE", 0.0)


def uploaded(shop, text, kind="cards"):
    data = text if isinstance(text, bytes) else text.encode()
    begun = call(shop, create_import, {"kind": kind, "size": len(data)}, path=WHERE)
    assert wire.send("PUT", begun["uploadLink"], {}, data).status == 200
    return {**WHERE, "run": str(begun["id"])}


def worked(shop):
    while records := shop.queued(IMPORTS):
        assert run_import({"Records": records}, None) == {"batchItemFailures": []}


def moved(shop, state, where=HERE):
    call(shop, set_import_state, {"state": state}, path=where)
    worked(shop)
    return call(shop, get_import, path=where)


def problems(shop, view):
    """Return the file that names what is not applied."""
    return wire.send("GET", view["errorLink"], {}).body.decode()


def checked(shop, text, kind="cards"):
    return moved(shop, "checked", uploaded(shop, text, kind))


def card(shop, phone, product=STORED_VALUE):
    return next(row for row in shop.rows("cards") if row["owner"] == f"12#{phone}" and row["product_id"] == product)


def money(shop):
    """Return what stands on the cards and in the ledger, without what chance and time made."""
    cards = sorted((row["owner"], row["product_id"], row["principal"], row["gift"]) for row in shop.rows("cards"))
    entries = sorted(str(row["moves"]) for row in shop.rows("entries"))
    people = sorted((row["phone"], row.get("nickname"), row["listed"]) for row in shop.rows("customers"))
    return cards, entries, people, len(shop.rows("listed"))


class TestCards:
    def test_are_checked_without_writing_and_opened_once_confirmed(self, shop):
        customer()
        where = uploaded(shop, b"\xef\xbb\xbf" + CARDS.encode())
        assert call(shop, get_import, path=where) == {**ABOUT, **NOTHING, "kind": "cards", "state": "waiting"}

        asked = call(shop, set_import_state, {"state": "checked"}, path=where)
        assert asked == {**ABOUT, **NOTHING, "kind": "cards", "state": "checking"}
        before = money(shop)
        worked(shop)
        found = {**ABOUT, **NOTHING, "kind": "cards", "state": "checked", "lines": 3, "good": 3}
        assert call(shop, get_import, path=where) == found
        assert money(shop) == before

        assert moved(shop, "confirmed") == {**found, "state": "done", "applied": 3}
        first = card(shop, PHONE)
        hashed = first.pop("password_hash")
        assert pay_passwords.fits(hashed, pay_passwords.default_digest(PHONE))
        assert first == {
            "owner": f"12#{PHONE}",
            "product_id": 3,
            "id": 1,
            "card_no": 7924012814100,
            "merchant_id": MERCHANT,
            "user_id": 7,
            "phone": PHONE,
            "type": 10,
            "principal": 10000,
            "gift": 2050,
            "charged": 0,
            "invoiced": 0,
            "invoiceable": 0,
            "entries": 1,
            "layout": 0,
            "lots_open": 0,
            "created_at": "2019-12-14T12:57:08.000Z",
        }
        digest = hashlib.md5(b"123456").hexdigest()
        assert pay_passwords.fits(card(shop, "13800000008")["password_hash"], digest)
        people = {row["phone"]: (row.get("nickname"), row["listed"]) for row in shop.rows("customers")}
        assert people == {PHONE: ("哈哈", True), "13800000008": ("小,红", True)}

    def test_are_confirmed_with_the_file_and_its_sums(self, shop):
        where = uploaded(shop, CARDS + "13800000009,,99,7,7,,\n")
        moved(shop, "checked", where)
        moved(shop, "confirmed", where)

        (row,) = shop.rows("imports")
        assert json.loads(row["sums"]) == {"principal": 10000, "gift": 2050}
        signed = {"state": "applying", "lines": 4, "good": 3, "sums": {"principal": 10000, "gift": 2050}}
        signed["digest"] = hashlib.sha256((CARDS + "13800000009,,99,7,7,,\n").encode()).hexdigest()
        assert row["digest"] == signed["digest"]
        (confirmed,) = [entry for entry in shop.rows("audit") if entry.get("before") == audit.digest("checked")]
        assert (confirmed["subject"], confirmed["actor"]) == ("imports/1", "0001")
        assert confirmed["after"] == audit.digest(signed)

    def test_bring_what_was_on_them(self, shop):
        where = uploaded(shop, CARDS)
        moved(shop, "checked", where)
        moved(shop, "confirmed", where)

        entries = {row["subject"]: row for row in shop.rows("entries")}
        entry = entries["card#1"]
        assert {entry["kind"] for entry in entries.values()} == {"carry_over"}
        assert (entry["manager_id"], "store_id" in entry, entry["reference"]) == (OWNER, False, 1)
        assert entry["moves"] == (
            '[["carried_over", "customer_principal", 10000], ["carried_over", "customer_gift", 2050]]'
        )
        assert [entries[f"card#{number}"]["moves"] for number in (2, 3)] == ["[]", "[]"]
        assert shop.rows("shifts") == []

    def test_are_good_at_the_till_and_in_the_proof(self, shop):
        functions = {function.name: function for function in declarations("membership").functions}
        moved(shop, "checked", uploaded(shop, CARDS))
        moved(shop, "confirmed")
        till = Shop(shop)
        till.data(functions["spend_from_card"], phone=PHONE, cardId=STORED_VALUE, expense=110.25, password=PASSWORD)
        till.data(functions["recharge_card"], phone=PHONE, cardId=STORED_VALUE, recharge=50, send=0, image=IMAGE)
        assert (card(shop, PHONE)["principal"], card(shop, PHONE)["gift"]) == (5000, 1025)

        proof = {**WHERE, "proof": str(call(shop, functions["start_proof"], {}, path=WHERE)["id"])}
        while records := shop.queued(functions["prove_merchant"].queue):
            functions["prove_merchant"]({"Records": records}, None)

        said = call(shop, functions["get_proof"], path=proof)
        assert (said["state"], said["balanced"], said["findings"]) == ("done", True, [])

    def test_are_each_looked_at(self, shop):
        closed = Change(ProductTable, ProductTable.key(MERCHANT, STORED_VALUE), [ProductTable.active.set(0)])
        moved(shop, "checked", uploaded(shop, f"phone,cardId\n{PHONE},{ACTIVITY}\n"))
        moved(shop, "confirmed")
        commit(closed)
        lines = [
            "phone,cardId,principal,gift,openedAt",
            f"{PHONE},{ACTIVITY},,,",
            "13800000002,4,0.01,,",
            "13800000003,4,,0.01,",
            "13800000004,1004,,,",
            "13800000005,3,,,",
            "1380000,4,,,",
            "13800000006,4,1.005,-1,",
            "13800000008,4,,,2024-01-28 14:41:30",
            "13800000009,4,,,2024-01-28 14:41:29",
            "13800000010,4,,,=HYPERLINK(1)",
            "13800000009,4,,,",
            ",4,,,",
            "13800000008,4",
        ]

        view = moved(shop, "checked", uploaded(shop, "\r\n".join(lines)))

        amount = "must be an amount in yuan with at most two decimals"
        told = [
            (2, "the customer has the card already"),
            (3, "an activity card takes no amounts"),
            (4, "an activity card takes no amounts"),
            (5, "cardId names no card of the merchant"),
            (6, "the card is not offered any more"),
            (7, "phone has characters or a form that is not allowed here"),
            (8, f"principal {amount}; gift must be greater than or equal to 0"),
            (9, "openedAt lies in the future"),
            (11, "openedAt must be a time such as 2020-04-30 00:00:00"),
            (12, "stands in the file twice"),
            (13, "phone is required"),
            (14, "has 2 cells instead of 5"),
        ]
        assert view["state"] == "checked"
        assert [tuple(error.values()) for error in view["errors"]] == told

    def test_that_are_there_are_never_overwritten(self, shop):
        moved(shop, "checked", uploaded(shop, CARDS))
        moved(shop, "confirmed")
        before = money(shop)

        second = uploaded(shop, CARDS.replace("100.00", "999"))
        view = moved(shop, "checked", second)

        assert (view["good"], view["existing"]) == (0, 3)
        assert problems(shop, view).splitlines()[1] == "2,the customer has the card already"
        msg = "There is no line that can be applied"
        assert refused(shop, set_import_state, {"state": "confirmed"}, path=second) == (409, 409, msg)
        assert money(shop) == before

    def test_that_come_between_are_refused_late(self, shop):
        first, second = uploaded(shop, CARDS), uploaded(shop, CARDS)
        moved(shop, "checked", first)
        moved(shop, "checked", second)
        moved(shop, "confirmed", first)
        before = money(shop)

        view = moved(shop, "confirmed", second)

        assert (view["state"], view["good"], view["applied"], view["refused"]) == ("done", 3, 0, 3)
        assert problems(shop, view).splitlines()[1:] == [f"{n},the customer has the card already" for n in (2, 3, 5)]
        assert money(shop) == before


class TestCustomers:
    def test_are_made(self, shop):
        customer()
        where = uploaded(shop, f"phone,avatar,nickname\n{PHONE},,x\n13800000008,https://x.cn/a,小红\n", "customers")

        view = moved(shop, "checked", where)
        assert (view["lines"], view["good"], view["existing"]) == (2, 1, 1)
        view = moved(shop, "confirmed", where)

        errors = [{"line": 2, "message": "the customer is there already"}]
        counts = {**NOTHING, "lines": 2, "good": 1, "existing": 1, "applied": 1}
        rest = {**ABOUT, "kind": "customers", "state": "done", "errors": errors, "errorLink": view["errorLink"]}
        assert view == {**rest, **counts}
        made = next(row for row in shop.rows("customers") if row["phone"] == "13800000008")
        assert made == {
            "merchant_id": MERCHANT,
            "phone": "13800000008",
            "user_id": 1,
            "nickname": "小红",
            "listed": False,
            "avatar": "https://x.cn/a",
            "created_at": "2024-01-28T06:41:29.006Z",
            "updated_at": made["updated_at"],
        }

    def test_that_get_a_card_later_are_listed_then(self, shop):
        moved(shop, "checked", uploaded(shop, f"phone\n{PHONE}\n", "customers"))
        moved(shop, "confirmed")
        assert shop.rows("listed") == []

        where = uploaded(shop, f"phone,cardId\n{PHONE},3\n")
        moved(shop, "checked", where)
        moved(shop, "confirmed", where)

        assert [row["book"] for row in shop.rows("listed")] == ["customers#merchant#12"]
        assert [row["listed"] for row in shop.rows("customers")] == [True]

    def test_that_come_between_are_refused_late(self, shop):
        moved(shop, "checked", uploaded(shop, f"phone\n{PHONE}\n", "customers"))
        customer()

        view = moved(shop, "confirmed")

        assert view["errors"] == [{"line": 2, "message": "the customer is there already"}]
        assert (view["applied"], view["refused"]) == (0, 1)


class TestFiles:
    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b"", "The first line must name the columns, each once, of: phone, nickname, avatar"),
            (b"nickname\nx\n", "The first line must name the columns, each once, of: phone, nickname, avatar"),
            (b"phone,phone\n", "The first line must name the columns, each once, of: phone, nickname, avatar"),
            (b"phone,name\n", "The first line must name the columns, each once, of: phone, nickname, avatar"),
            ("phone\n中文".encode("gb18030"), "The file is not UTF-8 text"),
            (b'phone\n"1', "Line 2 cannot be read: unexpected end of data"),
        ],
    )
    def test_that_cannot_be_read_are_refused_whole(self, shop, data, message):
        where = uploaded(shop, data or b"\n", "customers")

        view = moved(shop, "checked", where)

        assert view == {
            **ABOUT,
            **NOTHING,
            "kind": "customers",
            "state": "failed",
            "errors": [{"line": 0, "message": message}],
        }

    def test_that_are_not_there_can_come_later(self, shop):
        begun = call(shop, create_import, {"kind": "customers", "size": 18}, path=WHERE)
        assert begun == {"id": 1, "state": "waiting", "uploadLink": begun["uploadLink"]}
        assert moved(shop, "checked")["errors"] == [{"line": 0, "message": "There is no file yet"}]

        wire.send("PUT", begun["uploadLink"], {}, f"phone\n{PHONE}\n".encode())

        view = moved(shop, "checked")
        assert (view["state"], view["good"], view["errors"]) == ("checked", 1, [])

    def test_that_are_replaced_after_the_check_are_not_applied(self, shop):
        begun = call(shop, create_import, {"kind": "cards", "size": len(CARDS.encode())}, path=WHERE)
        wire.send("PUT", begun["uploadLink"], {}, CARDS.encode())
        moved(shop, "checked")
        before = money(shop)
        wire.send("PUT", begun["uploadLink"], {}, CARDS.replace("100", "999").encode())

        view = moved(shop, "confirmed")

        message = "The file is not the one that was checked"
        assert (view["state"], view["errors"]) == ("failed", [{"line": 0, "message": message}])
        assert money(shop) == before

    def test_of_a_replaced_file_every_line_is_applied_and_those_before_count(self, shop, slow):
        begun = call(shop, create_import, {"kind": "customers", "size": 30}, path=WHERE)
        wire.send("PUT", begun["uploadLink"], {}, b"phone\n13800000001\n13800000002\n")
        moved(shop, "checked")
        call(shop, set_import_state, {"state": "confirmed"}, path=HERE)
        run_import({"Records": shop.queued(IMPORTS)}, None)
        wire.send("PUT", begun["uploadLink"], {}, b"phone\n13800000003\n13800000004\n")
        worked(shop)
        assert call(shop, get_import, path=HERE)["state"] == "failed"

        moved(shop, "checked")
        view = moved(shop, "confirmed")

        assert (view["state"], view["good"], view["applied"], view["refused"]) == ("done", 2, 3, 0)
        assert sorted(row["phone"][-1] for row in shop.rows("customers")) == ["1", "3", "4"]

    @pytest.mark.parametrize(
        ("body", "msg"),
        [
            ({"kind": "stores", "size": 1}, "kind must be 'customers' or 'cards'"),
            ({"kind": "cards", "size": 0}, "size must be greater than or equal to 1"),
            ({"kind": "cards", "size": imports.LARGEST + 1}, f"size must be less than or equal to {imports.LARGEST}"),
            ({"kind": "cards"}, "size is required"),
        ],
    )
    def test_are_begun_in_earnest(self, shop, body, msg):
        assert refused(shop, create_import, body, path=WHERE) == (400, 400, msg)

    def test_of_others_are_not_there(self, shop):
        where = {"merchant": "13", "run": uploaded(shop, CARDS)["run"]}
        msg = "There is no such import"

        assert refused(shop, get_import, path=where, groups=["13"]) == (404, 404, msg)
        asked = {"state": "checked"}
        assert refused(shop, set_import_state, asked, path=where, groups=["13"]) == (404, 404, msg)

    def test_are_confirmed_only_after_a_check(self, shop):
        where = uploaded(shop, CARDS)
        msg = "An import that is waiting cannot be confirmed"
        assert refused(shop, set_import_state, {"state": "confirmed"}, path=where) == (409, 409, msg)

        moved(shop, "checked", where)
        moved(shop, "confirmed", where)
        done = call(shop, get_import, path=where)

        assert call(shop, set_import_state, {"state": "confirmed"}, path=where) == done
        assert shop.queued(IMPORTS) == []
        msg = "An import that is done cannot be checked"
        assert refused(shop, set_import_state, {"state": "checked"}, path=where) == (409, 409, msg)
        audited = sorted(row["operation"] for row in shop.rows("audit"))
        assert audited == ["create_import", "set_import_state", "set_import_state"]


class TestCutOff:
    def test_a_slow_worker_asks_to_be_called_again(self, shop, slow):
        moved(shop, "checked", uploaded(shop, CARDS))
        call(shop, set_import_state, {"state": "confirmed"}, path=HERE)

        for applied in (1, 2, 3):
            run_import({"Records": shop.queued(IMPORTS)}, None)
            view = call(shop, get_import, path=HERE)
            assert (view["state"], view["applied"]) == ("applying", applied)
        worked(shop)

        view = call(shop, get_import, path=HERE)
        assert (view["state"], view["applied"], len(shop.rows("cards"))) == ("done", 3, 3)

    def test_a_message_that_comes_twice_changes_nothing(self, shop, slow):
        moved(shop, "checked", uploaded(shop, CARDS))
        call(shop, set_import_state, {"state": "confirmed"}, path=HERE)
        records = shop.queued(IMPORTS)
        run_import({"Records": records}, None)
        run_import({"Records": records}, None)
        worked(shop)

        view = call(shop, get_import, path=HERE)
        assert (view["state"], view["applied"], view["refused"]) == ("done", 3, 0)

    @pytest.mark.parametrize("state", ["checked", "confirmed"])
    def test_between_any_two_calls_each_line_is_applied_once(self, shop, monkeypatch, state):
        customer()
        text = f"{CARDS}13800000009,x,3,1,,,\n13800000009,x,77,,,,\n"
        moved(shop, "checked", uploaded(shop, text))
        real, calls, cut = aws.call, 0, 0

        def counted(*given, **more):
            nonlocal calls
            calls += 1
            if calls == cut:
                answer = real(*given, **more)
                raise KeyboardInterrupt(f"cut off after {given[1]}: {answer}")
            return real(*given, **more)

        call(shop, set_import_state, {"state": state}, path=HERE)
        with monkeypatch.context() as patched:
            patched.setattr(aws, "call", counted)
            while records := shop.queued(IMPORTS):
                while True:
                    # Each attempt gets one call further than the one before.
                    calls, cut = 0, cut + 1
                    try:
                        run_import({"Records": records}, None)
                        break
                    except KeyboardInterrupt:
                        continue

        view = call(shop, get_import, path=HERE)
        if state == "checked":
            assert (view["state"], view["good"], view["wrong"], len(shop.rows("cards"))) == ("checked", 4, 1, 0)
            return
        assert (view["state"], view["applied"], view["refused"]) == ("done", 4, 0)
        cards, entries, people, listed = money(shop)
        assert [(owner[-1], product, principal, gift) for owner, product, principal, gift in cards] == [
            ("7", 3, 10000, 2050), ("8", 3, 0, 0), ("8", 4, 0, 0), ("9", 3, 100, 0),
        ]  # fmt: skip
        assert (len(entries), listed) == (4, 3)
        assert people == [(PHONE, "哈哈", True), ("13800000008", "小,红", True), ("13800000009", "x", True)]

    def test_a_lost_message_is_sent_again_when_it_is_asked_for(self, shop):
        where = uploaded(shop, CARDS)
        call(shop, set_import_state, {"state": "checked"}, path=where)
        shop.queued(IMPORTS)
        shop.client("sqs").purge_queue(
            QueueUrl=shop.client("sqs").get_queue_url(QueueName=IMPORTS.physical_name())["QueueUrl"]
        )

        assert call(shop, set_import_state, {"state": "checked"}, path=where)["state"] == "checking"
