"""The firewall: in front of every gateway on AWS, and not in the way of what the contracts allow."""

import json
import re

from infra.discovery import systems

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
