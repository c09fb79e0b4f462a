"""Doing a request once: what is the same request, and what becomes of one that somebody keeps overtaking."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel import clock
from kernel.running import Running
from kernel.tables import commit
from membership import repeats
from membership.api import Done
from membership.faults import Refused, Throttled
from membership.managers import Manager
from membership.recharges import Recharge
from membership.repeats import Claim, Contended, Repeated, once
from membership.tables import RepeatTable
from tests.conftest import NOW

FIELDS = {"phone": "13800000007", "cardId": 3, "recharge": 100, "send": 0, "image": "x"}
ANSWER = Done("充值成功")


def manager(manager_id=21, key=""):
    return Manager("21", manager_id, 12, 3, key)


def request(**more):
    return Recharge.model_validate({**FIELDS, **more})


def claim_of(asked, who=None, operation="recharge_card"):
    claims = []

    def work(claim):
        claims.append(claim)
        return ANSWER

    with Running(operation):
        assert once(who or manager(), asked, work) is ANSWER
    return claims[0]


class TestWhatIsTheSame:
    def test_the_same_values_however_they_are_spelled(self, environment):
        with clock.frozen(NOW):
            same = claim_of(request())

            assert claim_of(request(recharge="100.00", cardId="3", send=0.0, token="another")) == same
            assert claim_of(Recharge.model_validate(dict(reversed(FIELDS.items())))) == same
        assert (same.key, same.window) == (f"21#same#{same.fingerprint}", timedelta(seconds=3))

    @pytest.mark.parametrize("more", [{"recharge": 100.01}, {"send": 1}, {"phone": "13800000008"}, {"eventId": 9}])
    def test_other_values_are_another(self, environment, more):
        assert claim_of(request(**more)).key != claim_of(request()).key

    def test_other_managers_and_operations_are_others(self, environment):
        keys = {claim_of(request()).key, claim_of(request(), manager(22)).key, claim_of(request(), None, "other").key}

        assert len(keys) == 3

    def test_a_key_stands_for_the_request(self, environment):
        one, other = (claim_of(request(recharge=cents), manager(key="k")) for cents in (1, 2))

        assert one.key == other.key == "21#key#k"
        assert one.window == timedelta(days=7)
        assert one.fingerprint != other.fingerprint


@settings(deadline=None)
@given(st.floats(0, 10), st.booleans())
def test_a_claim_counts_for_its_window(seconds, same):
    claim = Claim("21#same#x", "x", repeats.MOMENT, NOW + timedelta(seconds=seconds))
    row = RepeatTable(claim=claim.key, fingerprint="x" if same else "y", answer={"msg": "", "data": [1]}, at=NOW)

    if claim.now - NOW >= repeats.MOMENT:
        assert claim.check(row) is None
    else:
        with pytest.raises(Repeated if same else Refused) as raised:
            claim.check(row)
        assert not same or raised.value.answer == Done("", [1])


class TestOnce:
    def test_what_was_overtaken_is_planned_again(self, cloud, monkeypatch):
        monkeypatch.setattr(repeats.time, "sleep", lambda _: None)
        left = [1, 2, 3]

        def work(claim):
            if left.pop():
                raise Contended
            return ANSWER

        left.insert(0, 0)
        with Running("recharge_card"):
            assert once(manager(), request(), work) is ANSWER
        assert left == []

    def test_it_is_given_up_in_the_end(self, cloud, monkeypatch):
        pauses = []
        monkeypatch.setattr(repeats.time, "sleep", pauses.append)

        def work(claim):
            raise Contended

        with Running("recharge_card"), pytest.raises(Throttled, match="卡片正忙"):
            once(manager(), request(), work)
        assert len(pauses) == 9
        assert all(0 <= pause <= 1.28 for pause in pauses)

    def test_it_is_given_up_before_the_functions_time_is_over(self, cloud, monkeypatch):
        passed = [0.0]
        monkeypatch.setattr(repeats.time, "monotonic", lambda: passed[0])
        monkeypatch.setattr(repeats.time, "sleep", lambda _: None)
        tried = []

        def work(claim):
            tried.append(claim)
            passed[0] += 2.5
            raise Contended

        with Running("recharge_card"), pytest.raises(Throttled, match="卡片正忙"):
            once(manager(), request(), work)
        assert len(tried) == 3

    def test_each_try_has_one_moment_of_its_own(self, cloud, monkeypatch):
        monkeypatch.setattr(repeats.time, "sleep", lambda _: None)
        moments = []
        midnight = NOW.replace(hour=16, minute=0, second=0)

        def work(claim):
            moments.append(claim.now)
            if len(moments) == 1:
                raise Contended
            return ANSWER

        ticking = iter((midnight - timedelta(seconds=1), midnight))
        monkeypatch.setattr(repeats.clock, "now", lambda: next(ticking))
        with Running("recharge_card"):
            once(manager(), request(), work)
        assert moments == [midnight - timedelta(seconds=1), midnight]

    def test_a_repetition_answers_what_was_answered(self, cloud):
        def work(claim):
            claim.check(RepeatTable.find(claim.key))
            commit(claim.put(Done("充值成功", {"n": 1})))
            return Done("充值成功", {"n": 1})

        with Running("recharge_card"):
            assert [once(manager(), request(), work) for _ in range(2)] == [Done("充值成功", {"n": 1})] * 2
        assert len(cloud.rows("repeats")) == 1

    def test_a_claim_expires_a_day_after_it_counts(self, cloud):
        claim = claim_of(request(), manager(key="k"))
        commit(claim.put(ANSWER))

        row = RepeatTable.find(claim.key)
        assert row.expires - row.at >= timedelta(days=8) - timedelta(seconds=1)
