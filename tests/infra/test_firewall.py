"""The firewall: in front of every gateway on AWS, and not in the way of what the contracts allow."""

import json
import re
from datetime import UTC, datetime

import pytest

from infra.discovery import declarations, systems
from infra.gateway import TOO_MANY
from kernel import clock
from kernel.auth import Signature

ACL = "AWS::WAFv2::WebACL"


def rules(made, system):
    return {rule["Name"]: rule for rule in made.one(system, ACL)["Rules"]}


def test_every_gateway_on_aws_has_one(prod, local, plain):
    for system in systems():
        (stage,) = prod.resources(system, "AWS::ApiGateway::Stage")
        association = plain(prod.one(system, "AWS::WAFv2::WebACLAssociation"))
        assert association["ResourceArn"].endswith(f"/stages/<{stage}>")
        assert not local.resources(system, ACL)


def test_large_bodies_and_chat_texts_pass(sample):
    group = rules(sample, "sample")["common"]["Statement"]["ManagedRuleGroupStatement"]
    counted = {override["Name"] for override in group["RuleActionOverrides"] if "Count" in override["ActionToUse"]}

    assert group["Name"] == "AWSManagedRulesCommonRuleSet"
    assert {"SizeRestrictions_BODY", "CrossSiteScripting_BODY"} <= counted


def test_an_address_that_calls_too_often_is_told_in_the_envelope(sample):
    acl = sample.one("sample", ACL)
    response = rules(sample, "sample")["rate"]["Action"]["Block"]["CustomResponse"]

    assert response["ResponseCode"] == 429
    body = acl["CustomResponseBodies"][response["CustomResponseBodyKey"]]["Content"]
    assert json.loads(body) == {"code": "too_many", "text": "Too many requests; try again later"}


@pytest.mark.parametrize("system", systems())
def test_what_it_says_does_not_depend_on_when_it_is_made(prod, system):
    """Its texts know no variables, so an envelope that tells the time says that none is known."""
    acl = prod.one(system, ACL)
    with clock.frozen(datetime(1970, 1, 1, tzinfo=UTC)):
        wanted = declarations(system).api.envelope.fault(TOO_MANY)

    response = rules(prod, system)["rate"]["Action"]["Block"]["CustomResponse"]
    assert response["ResponseCode"] == wanted.status == 429
    assert acl["CustomResponseBodies"][response["CustomResponseBodyKey"]]["Content"] == wanted.body


@pytest.mark.parametrize("system", systems())
def test_every_open_route_has_a_limit_for_an_address(prod, system):
    statement = rules(prod, system)["rate"]["Statement"]["RateBasedStatement"]
    left_out = re.findall(r'"RegexString": "([^"]+)"', json.dumps(statement).replace("\\\\", "\\"))
    unlimited = {
        path
        for operation in declarations(system).operations
        for path in operation.paths
        if any(re.search(pattern, f"/prod{path}") for pattern in left_out)
    }

    assert 0 < statement["Limit"] <= 3000
    signed = (operation for operation in declarations(system).operations if isinstance(operation.auth, Signature))
    assert unlimited == {path for operation in signed for path in operation.paths}


def test_signed_routes_have_no_limit_for_an_address(sample):
    statement = rules(sample, "sample")["rate"]["Statement"]["RateBasedStatement"]

    left_out = statement["ScopeDownStatement"]["NotStatement"]["Statement"]["OrStatement"]["Statements"]
    patterns = [one["RegexMatchStatement"]["RegexString"] for one in left_out]
    assert patterns == ["/call$", "/calls/[^/]+$", "/hook$", "/partner/[^/]+/call$"]
    for path in ("/prod/hook", "/prod/calls/line", "/hook", "/prod/partner/one/call"):
        assert any(re.search(pattern, path) for pattern in patterns), path
    for path in ("/prod/partner/things", "/prod/hooks", "/prod/things/call/parts", "/prod/calls"):
        assert not any(re.search(pattern, path) for pattern in patterns), path
    assert statement["AggregateKeyType"] == "IP"
