from functions.chatbot.get_check_test import get_check_test
from tests.functions.chatbot.examples import IDS, documented, ok

WORKS = ok({"result": "Check Test OK"})


def test_tells_that_the_service_works(cloud, account):
    assert cloud.call(get_check_test, documented("get_check_test")) == WORKS


def test_ignores_what_int_holds(cloud, account):
    for ignored in ("", "xxx", "1", 1, -1, 1.5, 10**30, "測試" * 1000):
        assert cloud.call(get_check_test, {**IDS, "int": ignored}) == WORKS, ignored
    assert cloud.call(get_check_test, form={**IDS, "int": "1"}) == WORKS


def test_refuses_what_is_neither_text_nor_number(refuses, account):
    values = (None, [], {}, ["xxx"])

    refuses(get_check_test, [({**IDS, "int": value}, "int must be a valid string") for value in values])
