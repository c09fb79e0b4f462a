"""Money operations one after the other and at the same time, with functions that die and answers that get lost.

Whatever happens, what was acknowledged is in the books exactly once and nothing else is, and the books agree with
themselves. `BOOKS_EXAMPLES=5000 pytest tests/layers/membership/test_books.py` looks harder.
"""

from __future__ import annotations

import itertools
import os
from contextlib import ExitStack
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from kernel import clock
from kernel.tables import Put, commit
from membership import pay_passwords, sms_codes
from membership.money import cents_of, yuan
from membership.tables import CouponTable, CustomerTable, HoldingTable, SmsCodeTable
from tests import books
from tests.bank import ACCIDENTS, Bank, Client, Fate, Turns
from tests.conftest import NOW
from tests.ledger_model import EVENTS, NO_USER, REFUSED, STORES, Ask, Model, lot_of, stored
from tests.shops import (
    ACTIVITY,
    CASHIER,
    EVENT_200,
    EVENT_COUPONS,
    OTHER_CASHIER,
    OWNER,
    PHONE,
    STORED_VALUE,
    customer,
    furnish,
    signed_in,
)

EXAMPLES = int(os.environ.get("BOOKS_EXAMPLES", "100"))
PHONES = (PHONE, "13800000008", "13800000009")
# One at each store of the examples, a second at the first one, and the account of the whole merchant.
MANAGERS = (CASHIER, OTHER_CASHIER, 22, 23, OWNER)
# What two or three want at the same time of one card.
RIVALS = (
    ("spend_from_card", "spend_from_card"),
    ("spend_from_card", "spend_from_card"),
    ("spend_from_card", "refund_recharge"),
    ("spend_from_card", "refund_expense"),
    ("spend_from_card", "recharge_card"),
    ("refund_expense", "refund_expense"),
    ("refund_expense", "confirm_cash_back"),
    ("refund_recharge", "refund_recharge"),
    ("refund_recharge", "add_invoice"),
    ("refund_recharge", "redeem_coupon"),
    ("add_invoice", "add_invoice"),
    ("confirm_cash_back", "confirm_cash_back"),
    ("redeem_coupon", "redeem_coupon"),
    ("redeem_coupon", "redeem_coupon"),
    ("give_coupon", "give_coupon"),
    ("give_coupon", "give_coupon"),
    ("open_card", "open_card"),
)
BUSY = "卡片正忙，请稍后再试"
# What a refusal may leave behind: numbers that were taken, and wrong passwords that were counted.
ASIDE = ("counters", "rates")

# Mostly what can be done, now and then what cannot.
managers = st.sampled_from((*(CASHIER, OTHER_CASHIER, 22) * 4, 23, OWNER))
phones = st.sampled_from((*PHONES[:1] * 6, *PHONES[:2] * 2, *PHONES))
products = st.sampled_from((STORED_VALUE, ACTIVITY, ACTIVITY))
EVERYTHING = 0
cents = st.sampled_from((1, 99, 3333, 5000, 9999, 10000, 15000, 20001, 33334, 40000))
amounts = st.one_of(cents, st.sampled_from((EVERYTHING, EVERYTHING, 20000)))
# Of an order: all that is left, a third of it, or so many cents.
A_THIRD = -3
some = st.sampled_from((None, None, A_THIRD, A_THIRD, 1, 3333, 10000))
places = st.integers(0, 30)
often = st.integers(0, 5).map(bool)

WISHES = {
    "open_card": st.tuples(managers, phones, products),
    "recharge_card": st.tuples(
        managers,
        phones,
        products,
        cents,
        st.sampled_from((0, 1, 2050, 10000)),
        st.sampled_from((None, EVENT_200, EVENT_200, EVENT_COUPONS)),
    ),
    "spend_from_card": st.tuples(managers, phones, products, amounts),
    "refund_expense": st.tuples(managers, places, some, often),
    "refund_recharge": st.tuples(managers, places, some, often),
    "confirm_cash_back": st.tuples(managers, places),
    "add_invoice": st.tuples(managers, phones, products, amounts),
    "give_coupon": st.tuples(managers, phones, st.sampled_from((1, 2)), st.sampled_from((1, 1, 2, 3))),
    "redeem_coupon": st.tuples(managers, places),
}
OFTEN = {
    "recharge_card": 6, "spend_from_card": 8, "refund_expense": 5, "refund_recharge": 3, "confirm_cash_back": 3,
    "redeem_coupon": 2, "add_invoice": 2,
}  # fmt: skip
fates = st.one_of(st.just({}), st.dictionaries(st.integers(0, 14), st.sampled_from(ACCIDENTS), min_size=1, max_size=2))
SAID = {
    "open_card": "开卡成功",
    "recharge_card": "充值成功",
    "spend_from_card": "成功",
    "refund_expense": "成功",
    "refund_recharge": "成功",
    "confirm_cash_back": "",
    "add_invoice": "添加成功",
    "give_coupon": "赠送成功",
    "redeem_coupon": "",
}


def spelled(amount, style):
    """Return an amount as a form's text, or as a JSON number, with or without decimals."""
    whole = amount % 100 == 0
    return (yuan(amount), amount // 100 if whole else amount / 100, str(amount // 100) if whole else yuan(amount))[
        style
    ]


# Who wants it, on which card, whether there is a third or one asks twice, what they meet with, how they take turns.
CONTESTS = st.tuples(
    st.sampled_from(RIVALS),
    places,
    st.sampled_from(("", "a third", "twice")),
    st.lists(fates, min_size=3, max_size=3),
    # Anything, or one goes so far and then waits for all of another.
    st.one_of(
        st.lists(st.integers(0, 2), max_size=12),
        st.tuples(st.integers(1, 2), st.integers(1, 8)).map(lambda one: [one[0]] * one[1] + [0] * 30),
    ),
    st.sampled_from((True, True, False)),
)


class Books(RuleBasedStateMachine):
    """Shops at work on a few cards."""

    def __init__(self, cloud, bank, empty, there, names):
        super().__init__()
        self.bank = bank
        self.names = names
        self.there = there
        bank.restore(empty)
        self.client = Client(cloud, bank)
        self.model = Model(stock={1: 7, 2: None}, per_person={1: 3, 2: None}, customers={PHONE})
        self.now = NOW
        self.stopped = ExitStack()
        self.stopped.enter_context(clock.frozen(self.now))
        self.tokens = {manager: signed_in(manager) for manager in MANAGERS}
        # What was acknowledged, and how: by claim.
        self.done = []
        self.answers = {}
        self.asked = 0

    def teardown(self):
        self.stopped.close()

    @initialize(paid=st.sampled_from((EVENT_200, EVENT_COUPONS)))
    def opened(self, paid):
        """Something to work with."""
        for product in (STORED_VALUE, ACTIVITY):
            self.one(self.ask("open_card", (OTHER_CASHIER, PHONES[1], product)), {})
            self.one(self.ask("open_card", (CASHIER, PHONE, product)), {})
            self.one(
                self.ask(
                    "recharge_card", (CASHIER, PHONE, product, 10000, 2050, paid if product == ACTIVITY else None)
                ),
                {},
            )

    def ask(self, name, wish, *, keyed=True, style=0):
        """Return the request that a wish means at the moment, None when there is nothing that it could be about."""
        self.asked += 1
        manager, *rest = wish
        meaning = rest
        tag = ""
        match name:
            case "open_card":
                fields = {"phone": rest[0], "membershipCardId": rest[1]}
            case "recharge_card":
                phone, product, paid, given, event = rest
                # An event's own amounts, as a rule.
                if event and given != 1:
                    paid, given = EVENTS[event][:2]
                tag = f"/item/{self.asked}.png"
                meaning = (phone, product, paid, given, event, tag)
                fields = {"phone": phone, "cardId": product, "recharge": paid, "send": given, "image": tag}
                fields |= {"eventId": event} if event else {}
            case "spend_from_card":
                card = self.model.cards.get((rest[0], rest[1]))
                if rest[2] == EVERYTHING:
                    rest[2] = sum(card.held) if card and any(card.held) else 1
                fields = {"phone": rest[0], "cardId": rest[1], "expense": rest[2]}
                fields["password"] = pay_passwords.default_digest(rest[0])
            case "refund_expense" | "refund_recharge":
                # Mostly one of the right kind.
                kind = "expenses" if name == "refund_expense" else "recharges"
                place, amount, fresh = rest
                orders = self.model.orders.items()
                of_kind = [number for number, order in orders if place == 0 or (order.kind == kind and not order.over)]
                if not of_kind:
                    return None
                number = of_kind[place % len(of_kind)]
                order = self.model.orders[number]
                if place and STORES[manager] != order.store:
                    # Another store's orders are none of his, but all are the merchant's.
                    manager = OWNER
                if amount == A_THIRD:
                    amount = max(1, (order.moved[0] - order.returned[0]) // 3)
                if fresh:
                    self.send_code(manager)
                meaning = (number, amount, "123456")
                fields = {"orderNo": number, "code": "123456"} | ({} if amount is None else {"money": amount})
            case "confirm_cash_back":
                lots = [lot for card in self.model.cards.values() for lot in card.lots]
                # Mostly one that is due.
                due = [lot for lot in lots if lot.status == 3 and rest[0]] or lots
                if not due:
                    return None
                meaning = (due[rest[0] % len(due)].id,)
                fields = {"storeMemberEventId": meaning[0]}
            case "add_invoice":
                users = {row.phone: row.user_id for row in self.bank.rows(CustomerTable)}
                if rest[0] not in users:
                    return None
                card = self.model.cards.get((rest[0], rest[1]))
                if rest[2] == EVERYTHING:
                    rest[2] = (card.invoiceable if card else 0) or 1
                tag = f"/item/{self.asked}.png"
                meaning = (*rest, tag)
                fields = {"userId": users[rest[0]], "cardId": rest[1], "amount": rest[2], "image": tag}
            case "give_coupon":
                fields = dict(zip(("phone", "couponId", "quantity"), rest, strict=True))
            case "redeem_coupon":
                phones = {row.user_id: row.phone for row in self.bank.rows(CustomerTable)}
                held = sorted(self.bank.rows(HoldingTable), key=lambda row: row.num)
                if not held:
                    return None
                one = held[rest[0] % len(held)]
                meaning = (phones[one.user_id], one.coupon_id)
                fields = {"num": one.num}
        key = f"key {self.asked}" if keyed else ""
        return Ask(name, manager, spell(fields, style), tuple(meaning), key, tag)

    def send_code(self, manager):
        """What 3.8 leaves behind."""
        until = self.now + sms_codes.VALID
        commit(Put(SmsCodeTable(manager_id=manager, code_digest=sms_codes._digest(manager, "123456"), expires=until)))
        self.model.codes[manager] = until

    def send(self, ask, fate):
        return self.client.ask(ask.operation, ask.fields, token=self.tokens[ask.manager], key=ask.key, fate=fate)

    def lot_of(self, ask):
        return lot_of(self.bank, ask.tag, set(self.model.orders)) if ask.operation == "recharge_card" else None

    def one(self, ask, fate):
        """Ask for something and compare what comes of it with what should."""
        before = self.items()
        told = self.send(ask, Fate(fate))
        code, repeated = self.model.answer(ask, self.now, self.lot_of(ask))
        assert told.body["errCode"] == code, (ask, told.body)
        if code or repeated:
            assert self.items() == before
        self.check(ask, told.body, code)
        self.agree()

    def check(self, ask, body, code):
        """Compare an answer with the contract, and with the one that the same request had before."""
        assert body["result"] == int(code != 0)
        if code:
            assert body["msg"]
            return
        assert body.get("msg", "") == SAID[ask.operation]
        answer = {name: value for name, value in body.items() if name != "time"}
        # A key that is forgotten may be used anew.
        place = (ask.manager, ask.key or ask.fingerprint)
        claim = (*place, self.model.claims[place][1])
        assert self.answers.setdefault(claim, answer) == answer
        self.done.append(ask)

    def items(self):
        return {
            name: sorted(map(str, rows))
            for name, rows in self.bank.items().items()
            if name.rpartition("-")[2] not in ASIDE
        }

    def agree(self):
        """The tables hold what the model holds, and agree with themselves."""
        assert stored(self.bank, set(self.model.orders)) == self.model.view()
        self.model.number(self.bank)
        assert books.flaws(self.bank.rows) == []

    @rule(data=st.data(), keyed=often, style=st.integers(0, 2), fate=fates)
    def somebody_asks(self, data, keyed, style, fate):
        name, wish = data.draw(self.there)
        ask = self.ask(name, wish, keyed=keyed, style=style)
        if ask is not None:
            self.one(ask, fate)

    @rule(
        data=st.data(),
        number=st.integers(2, 3),
        choices=st.lists(st.integers(0, 2), max_size=40),
        in_step=st.booleans(),
    )
    def several_ask_at_once(self, data, number, choices, in_step):
        wishes = [(*data.draw(self.there), data.draw(often)) for _ in range(number)]
        asks = [self.ask(name, wish, keyed=keyed) for name, wish, keyed in wishes]
        self.at_once(asks, [data.draw(fates) for _ in asks], choices, in_step)

    @rule(contests=st.lists(CONTESTS, min_size=1, max_size=4))
    def several_want_the_last_of_it(self, contests):
        """One card, and those who want all that it holds, each in his way; only one of them can have it."""
        for names, place, more, some_fates, choices, in_step in contests:
            who = list(self.model.cards)[place % len(self.model.cards)]
            if not set(names) <= self.names:
                continue
            if place % 2:
                event = (EVENT_200, EVENT_COUPONS)[place // 2 % 2] if who[1] == ACTIVITY else None
                self.one(self.ask("recharge_card", (CASHIER, *who, 10000, 0, event)), {})
            for name, cents in (("confirm_cash_back", EVERYTHING), ("refund_expense", 6000)):
                if name in names:
                    # So that there is something to give back.
                    self.one(self.ask("spend_from_card", (CASHIER, *who, cents)), {})
            rivals = (*names, names[0])[: 3 if more == "a third" else 2]
            managers = (CASHIER, OTHER_CASHIER, 22)
            asks = [self.ask(name, self.about(name, who, m, place)) for name, m in zip(rivals, managers, strict=False)]
            # Somebody loses patience and asks for the same once more.
            self.at_once([*asks, asks[0]] if more == "twice" else asks, some_fates, choices, in_step)

    def about(self, name, who, manager, place):
        """Return a wish for all that there is of something on a card."""
        match name:
            case "open_card":
                return (manager, PHONES[2], who[1])
            case "recharge_card":
                return (manager, *who, 10000, 0, EVENT_COUPONS)
            case "spend_from_card" | "add_invoice":
                # All of it, or more than half of a lot, which only one of them finds.
                return (manager, *who, (EVERYTHING, 6000, 6000, 15000)[place // 4 % 4])
            case "give_coupon":
                # To different customers, who share nothing but the stock.
                return (manager, PHONES[manager == OTHER_CASHIER], 1, max(1, self.model.left(1)))
            case "redeem_coupon":
                # The holding that is used up first.
                phones = {row.user_id: row.phone for row in self.bank.rows(CustomerTable)}
                nums = sorted((row.num, phones[row.user_id], row.coupon_id) for row in self.bank.rows(HoldingTable))
                left = [self.model.holdings[phone, coupon].left or 100 for _, phone, coupon in nums]
                return (manager, left.index(min(left)) if left else 0)
            case "confirm_cash_back":
                due = [
                    (lot.id, owner) for owner, card in self.model.cards.items() for lot in card.lots if lot.status == 3
                ]
                found = [index for index, (_, owner) in enumerate(due) if owner == who]
                return (manager, len(due) + (found[place % len(found)] if found else 0))
        kind = "expenses" if name == "refund_expense" else "recharges"
        going = [order.who for order in self.model.orders.values() if order.kind == kind and not order.over]
        found = [index for index, owner in enumerate(going) if owner == who]
        # The newest, whose money is there most likely.
        return (manager, len(going) + (found[-1] if found else 0), None, True)

    def at_once(self, asks, some_fates, choices, in_step):
        """Ask for several things at the same time; it must be as if they had come in one order or another."""
        fated = [(ask, fate) for ask, fate in zip(asks, some_fates, strict=False) if ask is not None]
        if len(fated) < 2:
            return
        turns = self.bank.turns = Turns(choices, in_step=in_step)
        try:
            told = turns.run([lambda ask=ask, fate=fate: self.send(ask, Fate(fate)).body for ask, fate in fated])
        finally:
            self.bank.turns = None
        known = set(self.model.orders)
        shown = stored(self.bank, known)
        happened = [
            (ask, body, self.lot_of(ask)) for (ask, _), body in zip(fated, told, strict=True) if body.get("msg") != BUSY
        ]
        for order in itertools.permutations(happened):
            model = self.model.copy()
            codes = [model.answer(ask, self.now, made)[0] for ask, _, made in order]
            if codes == [body["errCode"] for _, body, _ in order] and model.view() == shown:
                self.model = model
                break
        else:
            raise AssertionError(unexplained(happened, shown, self.model.view()))
        for ask, body, _ in happened:
            self.check(ask, body, body["errCode"])
        self.agree()

    @rule(data=st.data(), before=st.integers(1, 6))
    def somebody_asks_at_midnight(self, data, before):
        """What begins on one day and ends on the next belongs to one of them as a whole."""
        shanghai = self.now + timedelta(hours=8)
        self.until(
            self.now + timedelta(days=1) - (shanghai - shanghai.replace(hour=0, minute=0, second=0, microsecond=0))
        )
        midnight = self.now
        self.until(midnight - timedelta(milliseconds=before))
        name, wish = data.draw(self.there)
        ask = self.ask(name, wish)
        if ask is None:
            return
        self.bank.tick = timedelta(milliseconds=1)
        try:
            told = self.send(ask, Fate())
        finally:
            self.bank.tick = timedelta()
        shown = stored(self.bank, set(self.model.orders))
        for moment in (self.now, midnight):
            model = self.model.copy()
            if model.answer(ask, moment, self.lot_of(ask))[0] == told.body["errCode"] and model.view() == shown:
                self.model = model
                break
        else:
            raise AssertionError(unexplained([(ask, told.body, None)], shown, self.model.view()))
        self.until(midnight + timedelta(seconds=1))
        self.check(ask, told.body, told.body["errCode"])
        self.agree()

    @precondition(lambda self: self.done)
    @rule(place=places, style=st.integers(0, 2), fate=fates)
    def somebody_asks_again(self, place, style, fate):
        ask = self.done[-1 - place % len(self.done)]
        amounts = {"recharge", "send", "expense", "money", "amount"}
        cents = {name: cents_of(value) if name in amounts else value for name, value in ask.fields.items()}
        self.one(ask._replace(fields=spell(cents, style)), fate)

    @rule(data=st.data(), seconds=st.sampled_from((0.5, 2.999, 3, 3.001)))
    def somebody_asks_twice_without_a_key(self, data, seconds):
        name, wish = data.draw(self.there)
        ask = self.ask(name, wish, keyed=False)
        if ask is not None:
            self.one(ask, {})
            self.until(self.now + timedelta(seconds=seconds))
            self.one(ask, {})

    @precondition(lambda self: any(ask.key for ask in self.done))
    @rule(data=st.data(), place=places)
    def somebody_uses_a_key_again(self, data, place):
        keyed = [ask for ask in self.done if ask.key]
        key = keyed[-1 - place % len(keyed)].key
        name, wish = data.draw(self.there)
        ask = self.ask(name, wish)
        if ask is not None:
            self.one(ask._replace(key=key), {})

    @rule(phone=phones, product=products, times=st.sampled_from((1, 1, 1, 2, 6)))
    def somebody_guesses_the_password(self, phone, product, times):
        for _ in range(times):
            fields = {"phone": phone, "cardId": product, "expense": 1, "password": "0" * 32}
            before = self.items()
            body = self.client.ask("spend_from_card", fields, token=self.tokens[CASHIER]).body
            there = (phone, product) in self.model.cards
            assert body["errCode"] == (REFUSED if there or phone in self.model.customers else NO_USER)
            assert self.items() == before
            if there:
                self.model.guess(phone, product, self.now)

    @rule(seconds=st.sampled_from((1, 2.999, 3, 61, 301, 901, 3600, 40000)))
    def time_passes(self, seconds):
        self.until(self.now + timedelta(seconds=seconds))

    def until(self, moment):
        """Let time go by; sessions are never as old as to be prolonged."""
        self.now = moment
        self.stopped.close()
        self.stopped.enter_context(clock.frozen(moment))
        self.tokens = {manager: signed_in(manager) for manager in MANAGERS}


def unexplained(happened, shown, before):
    """Return what the people asked, what they were told, and what is there that was not before."""
    told = [(ask.operation, ask.manager, ask.meaning, ask.key, body.get("msg")) for ask, body, _ in happened]
    changed = {name: (before[name], shown[name]) for name in shown if before[name] != shown[name]}
    return "\n".join(["no order explains:", *map(str, told), *map(str, changed.items())])


def spell(fields, style):
    amounts = {"recharge", "send", "expense", "money", "amount"}
    return {name: spelled(value, style) if name in amounts else value for name, value in fields.items()}


@pytest.fixture
def bank(cloud, monkeypatch):
    made = Bank(cloud)
    made.open(monkeypatch)
    # What is tried here is not the hash.
    monkeypatch.setattr(pay_passwords, "_COST", 2)
    furnish()
    customer()
    for coupon_id, stock, per_person in ((1, 7, 3),):
        coupon = CouponTable.find(12, coupon_id)
        coupon.stock, coupon.per_person = stock, per_person
        commit(Put(coupon))
    return made


def test_the_books_hold(cloud, bank):
    there = {operation.name for operation in cloud.system.operations} & WISHES.keys()
    names = [name for name in sorted(there) for _ in range(OFTEN.get(name, 1))]
    wishes = st.sampled_from(names).flatmap(lambda name: st.tuples(st.just(name), WISHES[name]))
    empty = bank.snapshot()
    run_state_machine_as_test(
        lambda: Books(cloud, bank, empty, wishes, there),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=25,
            deadline=None,
            derandomize="BOOKS_EXAMPLES" not in os.environ,
            database=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, *((Phase.shrink,) if "NOSHRINK" not in os.environ else ())),
        ),
    )
