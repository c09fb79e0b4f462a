"""The seven checks of a reply."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatbot.replies import CHECKS, PATTERN_LIMIT, flaws_of_check, passes

CITIES = [
    "臺北市", "新北市", "桃園市", "臺中市", "臺南市", "高雄市", "基隆市", "新竹市", "嘉義市", "新竹縣", "苗栗縣",
    "彰化縣", "南投縣", "雲林縣", "嘉義縣", "屏東縣", "宜蘭縣", "花蓮縣", "臺東縣", "澎湖縣", "金門縣", "連江縣",
]  # fmt: skip


def passing(kind, reply, value="", compare=""):
    return passes(reply, [(kind, value)], compare)


@pytest.mark.parametrize(
    ("kind", "reply", "outcome"),
    [
        ("Eng", "hello", True),
        ("Eng", "Hello World", True),
        ("Eng", "  Hello   World  ", True),
        ("Eng", "ｈｅｌｌｏ", True),
        ("Eng", "hello1", False),
        ("Eng", "hello!", False),
        ("Eng", "héllo", False),
        ("Eng", "你好", False),
        ("Eng", "hello\nworld", False),
        ("Eng", "", False),
        ("Num", "0", True),
        ("Num", "12", True),
        ("Num", "-12.50", True),
        ("Num", "+1", True),
        ("Num", "１２３", True),
        ("Num", " 12 ", True),
        ("Num", "１２．５", True),
        ("Num", "1,000", False),
        ("Num", ".5", False),
        ("Num", "5.", False),
        ("Num", "1e3", False),
        ("Num", "١٢", False),
        ("Num", "三", False),
        ("Num", "1 2", False),
        ("Num", "12\n3", False),
        ("Num", "", False),
        ("Phone", "0923590195", True),
        ("Phone", "08-1234-343", True),
        ("Phone", "+886 2 1234 5678", True),
        ("Phone", "０９２３５９０１９５", True),
        ("Phone", "123456", True),
        ("Phone", "1" * 20, True),
        ("Phone", "12345", False),
        ("Phone", "1" * 21, False),
        ("Phone", "0923+590195", False),
        ("Phone", "(02)12345678", False),
        ("Phone", "------", False),
        ("Phone", "0923590195a", False),
        ("Phone", "", False),
        ("Post", "106", True),
        ("Post", "10617", True),
        ("Post", "106171", True),
        ("Post", "１０６", True),
        ("Post", " 106 ", True),
        ("Post", "1061", False),
        ("Post", "10", False),
        ("Post", "1061712", False),
        ("Post", "106-17", False),
        ("Post", "1o6", False),
        ("Post", "", False),
        ("City", "臺北市", True),
        ("City", "台北市", True),
        ("City", " 台東縣 ", True),
        ("City", "新竹縣", True),
        ("City", "新竹市", True),
        ("City", "台北", False),
        ("City", "臺北縣", False),
        ("City", "臺北市大安區", False),
        ("City", "Taipei", False),
        ("City", "", False),
    ],
)  # fmt: skip
def test_checks(kind, reply, outcome):
    assert passing(kind, reply) is outcome


@pytest.mark.parametrize("city", CITIES)
def test_knows_every_city_and_county_in_both_spellings(city):
    assert passing("City", city)
    assert passing("City", city.replace("臺", "台"))


def test_there_are_twenty_two_cities_and_counties():
    assert len(set(CITIES)) == 22


@pytest.mark.parametrize(
    ("compare", "reply", "outcome"),
    [
        ("lessThan", "1234", True),
        ("lessThan", "12345", False),
        ("lessThan", "", True),
        ("moreThan", "123456", True),
        ("moreThan", "12345", False),
        ("equal", "12345", True),
        ("equal", "你好你好嗎", True),
        ("equal", "１２３４５", True),
        ("equal", " 12345 ", True),
        ("equal", "1234", False),
        ("equal", "12 45", True),
        ("equal", "😀😀😀😀😀", True),
    ],
)
def test_compares_lengths_as_the_names_say(compare, reply, outcome):
    assert passing("Len", reply, "5", compare) is outcome


@pytest.mark.parametrize(
    ("pattern", "reply", "outcome"),
    [
        (r"^[A-Z]\d{9}$", "A123456789", True),
        (r"^[A-Z]\d{9}$", " A123456789 ", True),
        (r"^[A-Z]\d{9}$", "A12345678", False),
        ("gold", "my gold card", True),
        ("gold", "my Gold card", False),
        ("(?i)gold", "my Gold card", True),
        (r"\p{Han}{2}", "你好", True),
    ],
)
def test_searches_the_pattern(pattern, reply, outcome):
    assert passing("RegExp", reply, pattern) is outcome


@pytest.mark.parametrize(
    ("pattern", "reply"),
    [
        (r"(x+x+)+y", "x" * 500),
        (r"^(([a-z])+.)+[A-Z]([a-z])+$", "a" * 500),
        (r"(?:a|a)*b$", "a" * 500 + "c"),
        (r"(.*.*.*.*.*)*z", "0" * 2000),
    ],
)
def test_a_pattern_that_would_never_end_is_not_passed(pattern, reply):
    assert passing("RegExp", reply, pattern) is False


def test_all_checks_must_pass_and_none_always_do():
    checks = [("Num", ""), ("Len", "3")]

    assert passes("123", checks, "equal")
    assert not passes("1234", checks, "equal")
    assert not passes("abc", checks, "equal")
    assert passes("anything", [], "")


def test_an_unknown_check_is_no_pass_but_an_error():
    with pytest.raises(ValueError, match="unknown check Zip"):
        passing("Zip", "1")


@pytest.mark.parametrize(
    ("kind", "value", "compare", "flaws"),
    [
        *((kind, "", "", []) for kind in CHECKS if kind not in ("Len", "RegExp")),
        ("Len", "5", "equal", []),
        ("Len", "0", "moreThan", []),
        ("Len", "99999", "lessThan", []),
        ("Len", "100000", "equal", [("value", "must be a whole number of at most 5 digits for a Len check")]),
        (
            "Len",
            "",
            "",
            [
                ("value", "must be a whole number of at most 5 digits for a Len check"),
                ("selectCompare", "must be lessThan, moreThan or equal for a Len check"),
            ],
        ),
        ("Len", "５", "equal", [("value", "must be a whole number of at most 5 digits for a Len check")]),
        ("Len", "-1", "equal", [("value", "must be a whole number of at most 5 digits for a Len check")]),
        ("Len", "5", "", [("selectCompare", "must be lessThan, moreThan or equal for a Len check")]),
        ("RegExp", "^a+$", "", []),
        ("RegExp", "(x+x+)+y", "", []),
        ("RegExp", r"\d{4}-\d{4}-\d{4}-\d{4}", "", []),
        ("RegExp", "a{0,9999}", "", []),
        ("RegExp", "a" * PATTERN_LIMIT, "", []),
        ("RegExp", "", "", [("value", "must be a pattern of at most 500 characters for a RegExp check")]),
        ("RegExp", "a" * 501, "", [("value", "must be a pattern of at most 500 characters for a RegExp check")]),
        ("RegExp", "(", "", [("value", "is no pattern: missing ) at position 1")]),
        ("RegExp", "(?V0)(?V1)a", "", [
            ("value", "is no pattern: VERSION0 and VERSION1 flags are mutually incompatible"),
        ]),
        ("RegExp", "((a{1000}){1000}){1000}", "", [
            ("value", "must not repeat more than 100000 times, all repetitions multiplied"),
        ]),
    ],
)  # fmt: skip
def test_a_check_that_cannot_be_carried_out_is_a_flaw(kind, value, compare, flaws):
    assert flaws_of_check(kind, value, compare) == flaws


@settings(deadline=None, derandomize=True, max_examples=150)
@given(
    kind=st.sampled_from(CHECKS),
    value=st.text(alphabet="ab09()[]{}*+?.|\\^$,:<>=!-", max_size=20),
    compare=st.sampled_from(["lessThan", "moreThan", "equal", ""]),
    reply=st.text(max_size=40),
)
def test_what_has_no_flaw_can_be_carried_out(kind, value, compare, reply):
    if not flaws_of_check(kind, value, compare):
        assert passing(kind, reply, value, compare) in (True, False)
