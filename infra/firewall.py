"""The firewall in front of a system's gateway."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from aws_cdk import aws_wafv2 as wafv2
from constructs import Construct

from infra.gateway import TOO_MANY, text_of
from kernel import clock
from kernel.auth import Signature

if TYPE_CHECKING:
    from infra.discovery import System
    from infra.gateway import Gateway
    from infra.stages import Stage

# Requests that one address may make in five minutes.
RATE_PER_ADDRESS = 3000
# The function limits the body (4 MB at most). Bodies carry what people write in chats, where a path, a link or
# markup is no attack, and one of them must not cost the others in the same call. Callers are programs, which
# need not name themselves.
COUNTED_ONLY = (
    "CrossSiteScripting_BODY",
    "EC2MetaDataSSRF_BODY",
    "GenericLFI_BODY",
    "GenericRFI_BODY",
    "SizeRestrictions_BODY",
    "NoUserAgent_HEADER",
)


class Firewall(Construct):
    """A web ACL: AWS's common rules, and a limit for each address."""

    def __init__(self, scope: Construct, stage: Stage, system: System, gateway: Gateway) -> None:
        """Put a web ACL in front of the gateway's stage."""
        super().__init__(scope, "Firewall")
        # Its texts are fixed and know no variables: an envelope that tells the time says that none is known.
        with clock.frozen(clock.from_millis(0)):
            too_many = system.api.envelope.fault(TOO_MANY)
        name = stage.resource(system.name, "firewall")
        acl = wafv2.CfnWebACL(
            self,
            "Acl",
            name=name,
            scope="REGIONAL",
            default_action=wafv2.CfnWebACL.DefaultActionProperty(allow={}),
            visibility_config=_visible(name),
            custom_response_bodies={
                "too-many": wafv2.CfnWebACL.CustomResponseBodyProperty(
                    content=text_of(too_many), content_type="APPLICATION_JSON"
                )
            },
            rules=[
                wafv2.CfnWebACL.RuleProperty(
                    name="rate",
                    priority=0,
                    action=wafv2.CfnWebACL.RuleActionProperty(
                        block=wafv2.CfnWebACL.BlockActionProperty(
                            custom_response=wafv2.CfnWebACL.CustomResponseProperty(
                                response_code=too_many.status, custom_response_body_key="too-many"
                            )
                        )
                    ),
                    statement=wafv2.CfnWebACL.StatementProperty(
                        rate_based_statement=wafv2.CfnWebACL.RateBasedStatementProperty(
                            aggregate_key_type="IP",
                            limit=RATE_PER_ADDRESS,
                            scope_down_statement=_unsigned(system),
                        )
                    ),
                    visibility_config=_visible("rate"),
                ),
                wafv2.CfnWebACL.RuleProperty(
                    name="common",
                    priority=1,
                    override_action=wafv2.CfnWebACL.OverrideActionProperty(none={}),
                    statement=wafv2.CfnWebACL.StatementProperty(
                        managed_rule_group_statement=wafv2.CfnWebACL.ManagedRuleGroupStatementProperty(
                            vendor_name="AWS",
                            name="AWSManagedRulesCommonRuleSet",
                            rule_action_overrides=[
                                wafv2.CfnWebACL.RuleActionOverrideProperty(
                                    name=rule, action_to_use=wafv2.CfnWebACL.RuleActionProperty(count={})
                                )
                                for rule in COUNTED_ONLY
                            ],
                        )
                    ),
                    visibility_config=_visible("common"),
                ),
            ],
        )
        wafv2.CfnWebACLAssociation(self, "InFrontOfGateway", resource_arn=gateway.stage_arn, web_acl_arn=acl.attr_arn)


def _unsigned(system: System) -> wafv2.CfnWebACL.StatementProperty | None:
    """Leave out routes that check a signature: a channel brings everybody's events from a few addresses."""
    signed = {
        # To the end: a variable in the middle would let through all routes that begin like it.
        re.sub(r"\\{[^/]*\\}", "[^/]+", re.escape(path)) + "$"
        for operation in system.operations
        if isinstance(operation.auth, Signature)
        for path in operation.paths
    }
    matches = [
        wafv2.CfnWebACL.StatementProperty(
            regex_match_statement=wafv2.CfnWebACL.RegexMatchStatementProperty(
                field_to_match=wafv2.CfnWebACL.FieldToMatchProperty(uri_path={}),
                regex_string=path,
                text_transformations=[wafv2.CfnWebACL.TextTransformationProperty(priority=0, type="NONE")],
            )
        )
        for path in sorted(signed)
    ]
    if not matches:
        return None
    either = (
        matches[0]
        if len(matches) == 1
        else wafv2.CfnWebACL.StatementProperty(or_statement=wafv2.CfnWebACL.OrStatementProperty(statements=matches))
    )
    return wafv2.CfnWebACL.StatementProperty(not_statement=wafv2.CfnWebACL.NotStatementProperty(statement=either))


def _visible(name: str) -> wafv2.CfnWebACL.VisibilityConfigProperty:
    return wafv2.CfnWebACL.VisibilityConfigProperty(
        cloud_watch_metrics_enabled=True, metric_name=name, sampled_requests_enabled=True
    )
