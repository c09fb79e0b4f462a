"""Operations that are retired say so to everybody who is signed in, whatever he sends."""

import pytest

from functions.chatbot.rich_message_api import rich_message_api
from functions.chatbot.save_scenario_api import save_scenario_api
from functions.chatbot.schedule_users_import import schedule_users_import
from tests.functions.chatbot.examples import IDS, UNAUTHORIZED, refused

RETIRED = refused("operation retired")
OPERATIONS = [rich_message_api, save_scenario_api, schedule_users_import]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_is_retired(cloud, operation):
    before = cloud.everything()

    for body in (IDS, {}, {"adminId": "0002"}, {"adminId": 1}, [], "null", "", "{", "text", b"\xff".decode("latin-1")):
        assert cloud.call(operation, body) == RETIRED, body
    assert cloud.call(operation, form={"adminId": "0001"}) == RETIRED
    assert cloud.everything() == before


@pytest.mark.parametrize("operation", OPERATIONS)
def test_says_nothing_to_nobody(cloud, operation):
    assert cloud.call(operation, IDS, caller="") == UNAUTHORIZED
