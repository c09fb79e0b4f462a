"""Audiences against the plain union of sets, wherever the walk begins, and what they cost."""

from datetime import UTC, datetime
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatbot import audiences
from chatbot.audiences import Audience, Person, Size, membership
from chatbot.conditions import Subject, all_hold
from chatbot.tables import ConversationTable, FollowerCountTable, MemberTable, OrderTable, PushTable, SegmentTable
from kernel import aws
from kernel.tables import Put, write_all
from tests.scenarios import BLUE, RED, about_follow_time, about_tag, about_variable

EARLY, LATE = (datetime(2024, 1, day, tzinfo=UTC) for day in (1, 20))
SINCE = {"range": {"start": "2024-01-10", "end": ""}}
NUMBERS = count(1)


@pytest.fixture
def partition(cloud):
    return new_partition()


@pytest.fixture
def calls():
    """The calls to AWS made in the test from here on."""
    made = []

    def note(call):
        made.append(call.action)

    aws.observers.append(note)
    yield made
    aws.observers.remove(note)


def new_partition():
    return f"#0001#account{next(NUMBERS)}"


def user(partition, user_id, *, follows=True, tags=(), variables=None, orders=(), follow_time=EARLY):
    return ConversationTable(
        account=partition,
        user_id=user_id,
        state={"tags": [{"name": name, "color": RED, "value": ""} for name in tags], "variables": variables or {}},
        status="1" if follows else "0",
        status_at=EARLY,
        follow_time=follow_time,
        access_time=EARLY,
        user_name="",
        user_picture="",
        orders=list(orders) or None,
        created_at=EARLY,
    )


def segment(partition, mode="Custom", *, members=0, conditions=(), order_id="", is_default=False, segment_id="s"):
    return SegmentTable(
        account=partition, segment_id=segment_id, segment_name=segment_id, mode=mode, conditions=list(conditions),
        order_id=order_id, is_default=is_default, scenario_id="", members=members,
    )  # fmt: skip


def member(partition, segment_id, user_id):
    place = membership(partition, segment_id)
    return MemberTable(segment=place, user_id=user_id, shown={}, verified=False, created_at=EARLY)


def order(partition, order_id, user_id, source="penglue"):
    return OrderTable(
        account=partition, place=f"{order_id}#{source}", order_id=order_id, source=source, user_id=user_id,
        product_id="", label="", cv_date="", node_id="", scenario_id="", created_at=EARLY,
    )  # fmt: skip


def put(*rows):
    write_all(map(Put, rows))


def names(number, start=0):
    return [f"U{place:05}" for place in range(start, start + number)]


class Opening:
    """Opens what was sealed by turning it round, and remembers for whom."""

    def __init__(self):
        self.opened = []

    def __call__(self, user_id):
        class Vault:
            def reveal(_, name, sealed):  # noqa: N805  the one outside is meant
                self.opened.append((user_id, name))
                return sealed[::-1]

        return Vault()


def audience(partition, *segments, everyone=False, user_ids=(), vault=None):
    return Audience(partition, everyone=everyone, segments=segments, user_ids=user_ids, vault=vault or Opening())


def ids(people):
    return [person.user_id for person in people]


def in_parts(crowd, people, rows):
    """Returns everybody, taken in parts, each resumed where the one before ended."""
    found, after = [], ""
    while after is not None:
        part = crowd.part(after, people=people, rows=rows)
        assert len(part.people) <= people
        assert part.after is None or part.after > after
        found += part.people
        after = part.after
    return found


USERS = names(12)
CONDITIONS = [
    about_tag("vip", "has_value"),
    about_variable("age", "num_gt", "30"),
    about_variable("age", "has_value"),
    about_follow_time("date_range", **SINCE),
    {"source": "cvkey", "expression": "exactly_match", "value": "A1"},
    {"source": "serverpushtime", "expression": "date_range", "value": "", **SINCE},
    {"source": "serverpushtime", "expression": "no_value", "value": ""},
    {"source": "cros", "expression": "has_value", "value": ""},
]
_SOME = st.lists(st.sampled_from([*USERS, "Ustranger"]), max_size=8, unique=True)
_PERSON = st.fixed_dictionaries(
    {
        "follows": st.booleans(),
        "tags": st.lists(st.sampled_from(["vip", "new"]), unique=True),
        "variables": st.sampled_from([{}, {"age": "31"}, {"age": "30"}, {"age": {"sealed": "04"}}]),
        "orders": st.lists(st.sampled_from(["A1", "B2"]), unique=True),
        "follow_time": st.sampled_from([EARLY, LATE]),
    }
)
_SEGMENT = st.one_of(
    st.tuples(st.just("Custom"), st.just(()), st.just(""), _SOME, st.booleans()),
    st.tuples(st.just("CVKey"), st.just(()), st.sampled_from(["A1", "A"]), _SOME, st.just(False)),
    st.tuples(
        st.just("Conditions"), st.lists(st.sampled_from(CONDITIONS), max_size=2), st.just(""), _SOME, st.just(False)
    ),
)


@settings(
    deadline=None,
    derandomize=True,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    known=st.dictionaries(st.sampled_from(USERS), _PERSON),
    pushed=st.dictionaries(st.sampled_from(USERS), st.sampled_from([EARLY, LATE])),
    ordered=st.dictionaries(st.sampled_from(["A1#x", "A1#y", "A#x", "A#1#x", "B2#x"]), st.sampled_from(USERS)),
    chosen=st.lists(_SEGMENT, max_size=3),
    everyone=st.booleans(),
    named=_SOME,
    people=st.integers(1, 5),
    rows=st.integers(1, 9),
    behind=st.lists(st.sampled_from([*USERS, "Ustranger", "U", "V"]), max_size=4),
)
def test_is_the_plain_union_from_wherever_it_goes_on(
    cloud, known, pushed, ordered, chosen, everyone, named, people, rows, behind
):
    partition = new_partition()
    put(*(user(partition, name, **what) for name, what in known.items()))
    put(*(PushTable(account=partition, user_id=name, pushed_at=at) for name, at in pushed.items()))
    put(*(order(partition, place.rpartition("#")[0], who, place[-1]) for place, who in ordered.items()))
    put(FollowerCountTable(account=partition, shard=0, followers=sum(one["follows"] for one in known.values())))
    segments, wanted = [], {name for name in known if everyone}
    for place, (mode, conditions, order_id, members, is_default) in enumerate(chosen):
        name = f"s{place}"
        put(*(member(partition, name, one) for one in members))
        made = {"conditions": conditions, "order_id": order_id, "is_default": is_default}
        segments.append(segment(partition, mode, members=len(members), segment_id=name, **made))
        wanted |= set(members) | ({who for key, who in ordered.items() if key.rpartition("#")[0] == order_id})
        wanted |= {one for one, what in known.items() if is_default or holds(conditions, what, pushed.get(one))}
    following = {name for name, what in known.items() if what["follows"]}
    everybody = [Person(name, name in following) for name in sorted((wanted & following) | set(named))]
    crowd = audience(partition, *segments, everyone=everyone, user_ids=named)

    assert list(crowd.people()) == everybody
    for after in behind:
        assert list(crowd.people(after)) == [person for person in everybody if person.user_id > after]
    assert in_parts(crowd, people, rows) == everybody
    size = crowd.size()
    assert size == Size(len(everybody), True) or (not size.exact and size.count == segments[0].members)


def holds(conditions, what, pushed):
    variables = {name: value if isinstance(value, str) else "40" for name, value in what["variables"].items()}
    tags = [{"name": name, "color": RED, "value": ""} for name in what["tags"]]
    subject = Subject(tags, lambda name: variables.get(name, ""), what["follow_time"], what["orders"], lambda: pushed)
    return all_hold(conditions, subject)


def test_reads_the_whole_channel_page_by_page(partition, monkeypatch, calls):
    monkeypatch.setattr(audiences, "_A_READ", 3)
    put(*(user(partition, name, tags=["vip"] if name.endswith("5") else []) for name in names(20)))
    put(member(partition, "picked", "U00007"))
    crowd = audience(
        partition,
        segment(partition, "Conditions", conditions=[about_tag("vip", "has_value")]),
        segment(partition, members=1, segment_id="picked"),
    )
    calls.clear()

    assert ids(crowd.people()) == ["U00005", "U00007", "U00015"]
    # Seven pages of the channel, one of the members.
    assert calls == ["Query"] * 8


def test_without_conditions_reads_only_its_lists(partition, calls):
    put(*(user(partition, name) for name in names(300)))
    put(*(member(partition, "a", name) for name in names(150)), *(member(partition, "b", name) for name in names(30)))
    put(order(partition, "A1", "U00299"))
    crowd = audience(
        partition,
        segment(partition, members=150, segment_id="a"),
        segment(partition, members=30, segment_id="b"),
        segment(partition, "CVKey", order_id="A1", segment_id="c"),
        user_ids=["U00298"],
    )
    calls.clear()

    assert ids(crowd.people()) == [*names(150), "U00298", "U00299"]
    assert sorted(calls) == ["BatchGetItem"] * 2 + ["Query"] * 3


def test_counts_nobody_twice_and_keeps_who_was_named(partition):
    put(user(partition, "U1"), user(partition, "U2", follows=False), member(partition, "s", "U1"))
    put(member(partition, "s", "U2"), member(partition, "s", "U3"))
    crowd = audience(partition, segment(partition, members=3), user_ids=["U4", "U2", "U1", "U1"])

    assert list(crowd.people()) == [Person("U1", True), Person("U2", False), Person("U4", False)]


def test_an_order_is_found_by_its_whole_number_and_behind_any_user(partition):
    orders = {"A1#x": "U1", "A1#y": "U3", "A1#2#x": "U4", "A12#x": "U5"}
    put(*(user(partition, name) for name in ("U1", "U2", "U3", "U4", "U5")))
    put(*(order(partition, place[:-2], who, place[-1]) for place, who in orders.items()))
    crowd = audience(partition, segment(partition, "CVKey", order_id="A1"))

    assert ids(crowd.people()) == ["U1", "U3"]
    assert ids(crowd.people("U1")) == ids(crowd.people("U2")) == ["U3"]
    assert in_parts(crowd, 1, 1) == [Person("U1", True), Person("U3", True)]


def test_who_came_through_a_link_belongs_to_a_segment_of_any_mode(partition):
    put(user(partition, "U1", tags=["vip"]), user(partition, "U2"), user(partition, "U3", follows=False))
    asking = {"conditions": [about_tag("vip", "has_value")]}
    for mode, more in (("Conditions", asking), ("CVKey", {"order_id": "none"})):
        put(member(partition, mode, "U2"), member(partition, mode, "U3"))
        crowd = audience(partition, segment(partition, mode, members=2, segment_id=mode, **more))

        assert ids(crowd.people()) == (["U1", "U2"] if mode == "Conditions" else ["U2"])


def test_every_push_meets_its_user(partition):
    put(*(user(partition, name) for name in names(6)))
    times = {"U00000": LATE, "U00001": EARLY, "U00002": LATE, "U000025": LATE, "U00004": LATE, "U00009": LATE}
    put(*(PushTable(account=partition, user_id=name, pushed_at=at) for name, at in times.items()))
    pushed = {"source": "serverpushtime", "expression": "date_range", "value": "", **SINCE}
    crowd = audience(partition, segment(partition, "Conditions", conditions=[pushed]))

    assert ids(crowd.people()) == ["U00000", "U00002", "U00004"]
    assert ids(crowd.people("U00001")) == ["U00002", "U00004"]
    # The condition is asked twice of the same user.
    twice = [segment(partition, "Conditions", conditions=[pushed, {**pushed, "expression": "has_value"}])]
    assert ids(audience(partition, *twice).people()) == ["U00000", "U00002", "U00004"]


@pytest.mark.parametrize("everyone", [True, False])
def test_the_last_part_says_so(partition, everyone):
    put(*(user(partition, name) for name in names(4)), *(member(partition, "s", name) for name in names(4)))
    crowd = audience(partition, segment(partition, members=4), everyone=everyone)

    first, second = crowd.part(people=3, rows=100), crowd.part("U00002", people=1, rows=100)
    assert (ids(first.people), first.after) == (names(3), "U00002")
    assert (ids(second.people), second.after) == (["U00003"], None)


def test_nobody(partition):
    crowd = audience(partition)

    assert list(crowd.people()) == []
    assert crowd.part(people=1, rows=1) == audiences.Part([], None, 0)
    assert crowd.size() == Size(0, True)


def test_conditions_of_one_segment_hold_together_and_several_segments_add_up(partition):
    both = [about_tag("vip", "has_value"), about_variable("age", "num_gt", "30")]
    put(
        user(partition, "U1", tags=["vip"], variables={"age": "31"}),
        user(partition, "U2", tags=["vip"]),
        user(partition, "U3", variables={"age": "31"}),
        user(partition, "U4", tags=["new"]),
        user(partition, "U5", tags=["new"], follows=False),
    )
    one = segment(partition, "Conditions", conditions=both, segment_id="one")
    other = segment(partition, "Conditions", conditions=[about_tag("new", "has_value")], segment_id="other")
    other_color = segment(partition, "Conditions", conditions=[about_tag("new", "has_value", color=BLUE)])

    assert ids(audience(partition, one).people()) == ["U1"]
    assert ids(audience(partition, one, other).people()) == ["U1", "U4"]
    assert ids(audience(partition, other_color).people()) == []


def test_opens_what_is_sealed_only_to_compare_it(partition):
    put(*(user(partition, name, variables={"phone": {"sealed": "8860"}, "age": "30"}) for name in ("U1", "U2")))
    there = segment(partition, "Conditions", conditions=[about_variable("phone", "has_value")])
    missing = segment(partition, "Conditions", conditions=[about_variable("phone", "no_value")])
    starting = segment(partition, "Conditions", conditions=[about_variable("phone", "fuzzy_match", "0688")])
    plain = segment(partition, "Conditions", conditions=[about_variable("age", "num_gt", "29")])
    opening = Opening()

    assert ids(audience(partition, there, vault=opening).people()) == ["U1", "U2"]
    assert ids(audience(partition, missing, vault=opening).people()) == []
    assert ids(audience(partition, plain, vault=opening).people()) == ["U1", "U2"]
    assert opening.opened == []
    assert ids(audience(partition, starting, vault=opening).people()) == ["U1", "U2"]
    assert opening.opened == [("U1", "phone"), ("U2", "phone")]


def test_asks_for_pushes_only_when_a_condition_does(partition, calls):
    put(user(partition, "U1"), user(partition, "U2"), PushTable(account=partition, user_id="U2", pushed_at=LATE))
    pushed = {"source": "serverpushtime", "expression": "date_range", "value": "", **SINCE}
    tagged = [about_tag("vip", "has_value"), pushed]
    calls.clear()

    assert ids(audience(partition, segment(partition, "Conditions", conditions=tagged)).people()) == []
    assert calls == ["Query"]
    assert ids(audience(partition, segment(partition, "Conditions", conditions=[pushed])).people()) == ["U2"]
    assert calls == ["Query"] * 3


@pytest.mark.parametrize("number", [20, 200])
def test_what_a_size_costs_does_not_depend_on_the_channel(partition, number, calls):
    put(*(user(partition, name, tags=["vip"] if int(name[1:]) % 4 == 0 else []) for name in names(number)))
    put(*(member(partition, place, name) for place in "ab" for name in names(number)))
    put(FollowerCountTable(account=partition, shard=0, followers=number))
    asking = segment(partition, "Conditions", conditions=[about_tag("vip", "has_value")])
    picked = [segment(partition, members=number, segment_id=place) for place in "ab"]
    calls.clear()

    assert audience(partition, everyone=True).size() == Size(number, True)
    assert audience(partition, segment(partition, is_default=True)).size() == Size(number, True)
    assert calls == ["Query"] * 2
    assert audience(partition, everyone=True, user_ids=["U00001", "Ustranger"]).size() == Size(number + 1, True)
    assert calls[2:] == ["Query", "BatchGetItem"]
    calls.clear()
    assert audience(partition, picked[0]).size() == Size(number, False)
    assert calls == []
    # A quarter of those read, and so of the followers; the page ends where the reading does.
    estimated = audience(partition, asking).size(16)
    assert (estimated.exact, estimated.count) == (False, pytest.approx(number / 4, abs=number / 40))
    assert calls == ["Query"] * 2
    calls.clear()
    # Both lists hold the same people, which shows in those read.
    estimated = audience(partition, *picked).size(41)
    assert (estimated.exact, estimated.count) == (number == 20, pytest.approx(number, abs=number / 40))
    assert len(calls) <= 8


def test_a_size_is_exact_while_it_is_read_to_the_end(partition):
    put(*(user(partition, name, tags=["vip"] if name < "U00003" else []) for name in names(10)))
    put(FollowerCountTable(account=partition, shard=0, followers=10))
    asking = segment(partition, "Conditions", conditions=[about_tag("vip", "has_value")])

    assert audience(partition, asking).size(11) == Size(3, True)
    assert audience(partition, asking).size(4).exact is False
    assert audience(partition, asking, user_ids=["Ustranger", "U00001"]).size(11) == Size(4, True)
    assert audience(partition, segment(partition)).size() == Size(0, True)


def test_an_estimate_without_followers_among_those_read_is_what_was_named(partition):
    put(*(user(partition, name, follows=False) for name in names(10)))
    put(FollowerCountTable(account=partition, shard=0, followers=5))
    asking = segment(partition, "Conditions", conditions=[about_tag("vip", "has_value")])

    assert audience(partition, asking, user_ids=["Ustranger"]).size(5) == Size(1, False)
