"""Which money of a card is spent first and which comes back, for all amounts."""

from itertools import pairwise

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from membership import lots
from membership.ledger import Part

CENTS = st.integers(0, 10**6)
PARTS = st.lists(st.tuples(CENTS, CENTS), min_size=1, max_size=8).map(
    lambda amounts: [Part(number, *pair) for number, pair in enumerate(amounts, start=10)]
)


def total(parts):
    return sum(part.principal for part in parts), sum(part.gift for part in parts)


@st.composite
def payments(draw):
    """Lots that hold money and an amount that they have."""
    held = draw(PARTS)
    most = sum(total(held))
    assume(most)
    return held, draw(st.integers(1, most))


@st.composite
def orders(draw):
    """Principal and gift that an order moved, and the amounts that go back one after the other until all is back."""
    principal, gift = draw(CENTS), draw(CENTS)
    left = principal + gift
    assume(left)
    backs = []
    while left:
        backs.append(draw(st.integers(1, left)) if len(backs) < 12 else left)
        left -= backs[-1]
    return principal, gift, backs


class TestTake:
    def test_the_documented_order(self):
        # X7: eight recharges of 200 and 200 after two whose principal was gone, 17.60 spent.
        held = [Part(10, 0, 9560), Part(11, 0, 20000), *(Part(number, 20000, 20000) for number in range(12, 20))]

        assert lots.take(held, 1760) == [Part(12, 1760, 0)]
        assert lots.take(held, 160000) == [Part(number, 20000, 0) for number in range(12, 20)]
        assert lots.take(held, 170000) == [
            Part(10, 0, 9560), Part(11, 0, 440), *(Part(number, 20000, 0) for number in range(12, 20)),
        ]  # fmt: skip

    @settings(deadline=None)
    @given(payments())
    def test_takes_exactly_what_is_paid_and_no_more_than_a_lot_holds(self, payment):
        held, cents = payment
        taken = lots.take(held, cents)

        assert sum(total(taken)) == cents
        holds = {part.lot_id: part for part in held}
        for part in taken:
            assert 0 <= part.principal <= holds[part.lot_id].principal
            assert 0 <= part.gift <= holds[part.lot_id].gift
            assert part.principal or part.gift

    @settings(deadline=None)
    @given(payments())
    def test_no_gift_before_all_principal_and_no_lot_before_an_older_one_is_empty(self, payment):
        held, cents = payment
        taken = {part.lot_id: part for part in lots.take(held, cents)}
        left = [
            (part.principal - of.principal, part.gift - of.gift, of)
            for part in held
            for of in [taken.get(part.lot_id, Part(part.lot_id, 0, 0))]
        ]

        if any(of.gift for _, _, of in left):
            assert all(principal == 0 for principal, _, _ in left)
        for older, newer in pairwise(left):
            assert not newer[2].principal or older[0] == 0
            assert not newer[2].gift or older[1] == 0

    @settings(deadline=None)
    @given(PARTS, st.integers(1, 10**6))
    def test_too_little_is_none(self, held, more):
        assert lots.take(held, sum(total(held)) + more) is None


class TestShare:
    def test_in_the_proportion_it_was_spent(self):
        assert lots.share(10000, 5000, 0, 0, 7500) == (5000, 2500)
        # Half a cent is the customer's own money.
        assert lots.share(1, 1, 0, 0, 1) == (1, 0)
        assert lots.share(1, 1, 1, 0, 1) == (0, 1)

    @settings(deadline=None)
    @given(orders())
    def test_all_that_goes_back_is_what_was_moved(self, order):
        principal, gift, backs = order
        returned = [0, 0]
        for cents in backs:
            of_principal, of_gift = lots.share(principal, gift, *returned, cents)
            assert of_principal >= 0
            assert of_gift >= 0
            assert of_principal + of_gift == cents
            returned = [returned[0] + of_principal, returned[1] + of_gift]
            # Never more than half a cent away from the exact share.
            assert abs(returned[0] * (principal + gift) - sum(returned) * principal) * 2 <= principal + gift

        assert returned == [principal, gift]


class TestWithdrawn:
    def test_in_proportion_to_the_principal(self):
        assert lots.withdrawn(10000, 5000, 0, 0, 5000) == 2500
        # Half a cent stays with the customer.
        assert lots.withdrawn(10000, 5000, 0, 0, 1) == 0
        assert lots.withdrawn(10000, 5000, 1, 0, 2) == 1

    @settings(deadline=None)
    @given(st.integers(1, 10**6), CENTS, st.data())
    def test_nothing_stays_when_all_principal_has_gone(self, principal, gift, data):
        returned, gone = 0, 0
        while returned < principal:
            cents = data.draw(st.integers(max(1, (principal - returned) // 3), principal - returned))
            withdrawn = lots.withdrawn(principal, gift, returned, gone, cents)
            assert 0 <= withdrawn <= gift - gone
            returned, gone = returned + cents, gone + withdrawn

        assert gone == gift


class TestGiveBack:
    def test_what_was_taken_last_comes_back_first(self):
        parts = [Part(10, 100, 40), Part(11, 200, 0)]

        assert lots.give_back(parts, 0, 0, (250, 10)) == [Part(11, 200, 0), Part(10, 50, 10)]
        assert lots.give_back(parts, 250, 10, (50, 30)) == [Part(10, 50, 30)]

    @settings(deadline=None)
    @given(payments(), st.data())
    def test_every_lot_gets_back_what_it_gave(self, payment, data):
        held, cents = payment
        taken = lots.take(held, cents)
        principal, gift = total(taken)
        returned, back = [0, 0], {}
        while sum(returned) < cents:
            part = data.draw(st.integers(max(1, (cents - sum(returned)) // 3), cents - sum(returned)))
            shares = lots.share(principal, gift, *returned, part)
            given_back = lots.give_back(taken, *returned, shares)
            assert total(given_back) == shares
            returned = [returned[0] + shares[0], returned[1] + shares[1]]
            for of in given_back:
                before = back.get(of.lot_id, (0, 0))
                back[of.lot_id] = (before[0] + of.principal, before[1] + of.gift)

        assert back == {part.lot_id: (part.principal, part.gift) for part in taken}


class TestStatus:
    def test_each(self):
        assert lots.status_of(20000, 20000, 20000) == lots.UNTOUCHED
        assert lots.status_of(0, 20000, 20000) == lots.UNTOUCHED
        assert lots.status_of(0, 9560, 20000) == lots.TOUCHED
        assert lots.status_of(0, 0, 20000) == lots.DUE
        assert lots.status_of(100, 0, 0) == lots.UNTOUCHED
        assert lots.status_of(0, 0, 0) == lots.DUE

    @settings(deadline=None)
    @given(payments())
    def test_undoing_a_payment_gives_each_lot_its_status_back(self, payment):
        held, cents = payment
        for part in lots.take(held, cents):
            lot = next(lot for lot in held if lot.lot_id == part.lot_id)
            left = (lot.principal - part.principal, lot.gift - part.gift)
            again = lots.status_of(left[0] + part.principal, left[1] + part.gift, lot.gift)
            assert again == lots.UNTOUCHED


def test_the_largest_payment_fits_into_a_transaction():
    assert 7 + 2 * lots.MOST_TOUCHED <= 100
