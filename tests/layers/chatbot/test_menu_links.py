"""Which of the menus made for a user he sees."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from chatbot.menu_links import EVERYBODY, Menu, best
from tests.scenarios import NOW

MINUTE = timedelta(minutes=1)


def moments(low=-3, high=3):
    return st.integers(low, high).map(lambda minutes: NOW + minutes * MINUTE)


@st.composite
def some_menus(draw):
    menus = []
    for number in range(draw(st.integers(0, 6))):
        segments = draw(st.sampled_from([{EVERYBODY}, {"vip"}, {"vip", "new"}, {EVERYBODY, "vip"}]))
        timed = draw(st.booleans())
        start, end = (draw(st.none() | moments()), draw(moments())) if timed else (None, None)
        menus.append(Menu(f"menu-{number}", frozenset(segments), timed, start, end, draw(moments())))
    return menus


def by_the_contract(menus, now):
    """Return the ids that the contract's words leave over, one after the other."""
    left = [menu for menu in menus if not menu.timed or ((menu.start or now) <= now < menu.end)]
    for wanted in (lambda menu: menu.timed, lambda menu: EVERYBODY not in menu.segments):
        left = [menu for menu in left if wanted(menu)] or left
    newest = max((menu.created_at for menu in left), default=None)
    return {menu.menu_id for menu in left if menu.created_at == newest}


@given(some_menus(), moments())
def test_the_best_menu_is_the_one_the_contract_names(menus, now):
    found = best(menus, now)

    assert (found.menu_id if found else None) in (by_the_contract(menus, now) or {None})


@given(some_menus(), moments(), st.randoms(use_true_random=False))
def test_the_best_menu_does_not_depend_on_the_order(menus, now, chance):
    mixed = chance.sample(menus, len(menus))

    assert best(mixed, now) == best(menus, now)


@given(some_menus(), moments())
def test_without_the_best_menu_no_better_one_is_found(menus, now):
    ranked = []
    left = list(menus)
    while found := best(left, now):
        ranked.append(found)
        left.remove(found)
    keys = [(menu.timed, EVERYBODY not in menu.segments, menu.created_at) for menu in ranked]

    assert keys == sorted(keys, reverse=True)
    assert not any(menu.applies(now) for menu in left)


def test_a_window_begins_with_its_start_and_ends_before_its_end():
    menu = Menu("menu", frozenset(), True, NOW, NOW + MINUTE, NOW)

    second = timedelta(milliseconds=1)
    shown = [menu.applies(at) for at in (NOW - second, NOW, NOW + MINUTE - second, NOW + MINUTE)]
    assert shown == [False, True, True, False]
