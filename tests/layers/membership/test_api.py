"""What the people at the till and those in the back office are told of a fault."""

import json

import pytest

from kernel.errors import REQUIRED, Conflict, Flaw, Invalid, TooLarge
from kernel.tables import ConditionFailed
from membership.api import BACK_OFFICE, MembershipEnvelope, plain_text

CHANGED = "数据刚刚被修改，请重试"


@pytest.mark.parametrize(
    ("fault", "msg", "status"),
    [
        (TooLarge("The body is larger than 7 bytes"), "请求内容过大", 413),
        (Conflict("It was changed by somebody else meanwhile"), CHANGED, 409),
        (ConditionFailed(0), CHANGED, 409),
    ],
)
def test_the_till_is_spoken_to_in_chinese(fault, msg, status):
    at_till, in_office = (envelope.fault(fault) for envelope in (MembershipEnvelope(), BACK_OFFICE))

    assert (at_till.status, told(at_till)) == (200, (1, 1, msg))
    assert (in_office.status, told(in_office)) == (status, (status, 1, fault.message))


def test_a_text_keeps_its_lines_and_loses_control_characters():
    assert plain_text("a\x00b\x1b\u007f 測👍\n\t\ufdd0c") == "ab 測👍\n\tc"


def test_what_is_missing_is_named_and_nothing_else():
    fault = Invalid([Flaw("phone", "has characters that are not allowed here"), Flaw("cardId", REQUIRED)])

    assert told(MembershipEnvelope().fault(fault)) == (4, 1, "缺少参数：cardId")


def told(answer):
    body = json.loads(answer.body)
    return body["errCode"], body["result"], body["msg"]
