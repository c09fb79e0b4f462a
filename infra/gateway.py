"""The gateway: one REST API a system, a route per path of an operation, its own answers in the system's envelope."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from aws_cdk import Aws
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra import permissions
from infra.discovery import camel_case, construct_id
from infra.findings import accept
from infra.stages import LOG_DAYS
from kernel import clock
from kernel.auth import Cognito
from kernel.errors import Fault, Invalid, NotFound, TooLarge, TooMany, Unauthorized

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra.discovery import System
    from infra.stages import Stage
    from kernel.envelopes import Envelope, Response
    from kernel.operations import Operation

# Requests a second that a stage takes, and how many may come at once.
RATE = 500
BURST = 1000

# A token is judged once in this many seconds.
TOKEN_CACHE_SECONDS = 300

_UNKNOWN = NotFound("No such operation")
_NOBODY = Unauthorized()
_MALFORMED = Invalid("Bad request")
_BROKEN = Fault("Internal error")
TOO_MANY = TooMany("Too many requests; try again later")

# Whatever goes through is bytes: an answer in base64 leaves decoded whatever the caller accepts, and requests arrive
# in base64.
BINARY = "*/*"

LOCAL_ENDPOINT = "http://localhost:4566"

# Some envelopes tell the time: written at this one, they show where it stands, and the gateway puts in its own.
_MARKED_MILLIS = 1_111_111_111_111
_REQUEST_MILLIS = "$context.requestTimeEpoch"

# API Gateway's own answers, where they are not the default of their kind; each costs one of the stack's resources.
# It tells an unknown route by the words of a missing token, hence NotFound there.
ANSWERS: Mapping[str, Fault] = {
    "ACCESS_DENIED": _NOBODY,
    "DEFAULT_4XX": _MALFORMED,
    "DEFAULT_5XX": _BROKEN,
    "EXPIRED_TOKEN": _NOBODY,
    "INVALID_API_KEY": _NOBODY,
    "INVALID_SIGNATURE": _NOBODY,
    "MISSING_AUTHENTICATION_TOKEN": _UNKNOWN,
    "QUOTA_EXCEEDED": TOO_MANY,
    "REQUEST_TOO_LARGE": TooLarge("The request is larger than the gateway takes"),
    "RESOURCE_NOT_FOUND": _UNKNOWN,
    "THROTTLED": TOO_MANY,
    "UNAUTHORIZED": _NOBODY,
    "UNSUPPORTED_MEDIA_TYPE": Invalid("This media type is not understood"),
}

_ACCESS_LOG = {
    "time": _REQUEST_MILLIS,
    "requestId": "$context.requestId",
    "ip": "$context.identity.sourceIp",
    "caller": "$context.authorizer.claims.sub",
    "verb": "$context.httpMethod",
    "route": "$context.resourcePath",
    "status": "$context.status",
    "answer": "$context.error.responseType",
    "lambda": "$context.integration.status",
    "milliseconds": "$context.responseLatency",
    "lambdaMilliseconds": "$context.integration.latency",
    "bytes": "$context.responseLength",
}

_OPEN: Mapping[str, str] = {
    "public": "Open on purpose: callers have no credential yet, or the contract asks for none",
    "partner_key": "The function checks the partner's key or the token",
    "signature": "The function checks the request's signature",
    "token": "The function checks the token inside the request",
}


class Answer(NamedTuple):
    """An answer of the gateway's own; `text` may name its variables."""

    status: int
    text: str
    content_type: str


class Gateway(Construct):
    """The REST API of a system, made before the functions, which are told its address, and published with them."""

    def __init__(self, scope: Construct, stage: Stage, system: System) -> None:
        """Add the API, without routes as yet."""
        super().__init__(scope, "Gateway")
        self._stage = stage
        self._system = system
        self.name = stage.resource(system.name, "api")
        self.rest_api = apigateway.CfnRestApi(
            self,
            "Api",
            name=self.name,
            description=f"The operations of {system.name}",
            binary_media_types=[BINARY],
            endpoint_configuration=apigateway.CfnRestApi.EndpointConfigurationProperty(types=["REGIONAL"]),
        )
        accept(
            self.rest_api,
            "AwsSolutions-APIG2",
            "The function validates, so that all flaws of a request come at once and in the envelope",
        )
        self._resources: dict[str, str] = {}

    @property
    def url(self) -> str:
        """The address of the stage; it does not refer to the stage, which waits for the functions."""
        if self._stage.local:
            cloud = os.environ.get("AWS_ENDPOINT_URL", LOCAL_ENDPOINT)
            return f"{cloud}/_aws/execute-api/{self.rest_api.ref}/{self._stage.name}"
        host = f"{self.rest_api.ref}.execute-api.{Aws.REGION}.{Aws.URL_SUFFIX}"
        return f"https://{host}/{self._stage.name}"

    def publish(self, functions: Mapping[str, str], *, pool_arn: str, access_lines: str) -> None:
        """Add routes, answers, deployment and stage; `functions` maps operations to ARNs."""
        self._invoke_role = self._role_for(functions)
        self._authorizer = self._authorizer_of(pool_arn)
        parts: list[apigateway.CfnMethod | apigateway.CfnGatewayResponse] = [
            self._route(operation, path, functions[operation.name])
            for operation in self._system.operations
            for path in operation.paths
        ]
        parts += self._answers(self._system.api.envelope)
        self.stage = self._publish(parts, access_lines)

    @property
    def dimensions(self) -> Mapping[str, str]:
        """The dimensions under which CloudWatch counts what goes through the stage."""
        return {"ApiName": self.name, "Stage": self._stage.name}

    @property
    def stage_arn(self) -> str:
        """The ARN under which a web ACL finds the stage."""
        return f"arn:{Aws.PARTITION}:apigateway:{Aws.REGION}::/restapis/{self.rest_api.ref}/stages/{self.stage.ref}"

    def _role_for(self, functions: Mapping[str, str]) -> str:
        # One role of the gateway costs one resource; a permission at each function would cost one each.
        invoke = permissions.document(
            [{"Effect": "Allow", "Action": ["lambda:InvokeFunction"], "Resource": list(functions.values())}]
        )
        role = iam.CfnRole(
            self,
            "Invoke",
            assume_role_policy_document=permissions.trust("apigateway.amazonaws.com"),
            description="Starts the functions behind the routes",
            policies=[iam.CfnRole.PolicyProperty(policy_name="invoke", policy_document=invoke)],
        )
        return role.attr_arn

    def _authorizer_of(self, pool_arn: str) -> str:
        authorizer = apigateway.CfnAuthorizer(
            self,
            "Operators",
            rest_api_id=self.rest_api.ref,
            name="operators",
            type="COGNITO_USER_POOLS",
            identity_source="method.request.header.Authorization",
            authorizer_result_ttl_in_seconds=TOKEN_CACHE_SECONDS,
            provider_arns=[pool_arn],
        )
        return authorizer.ref

    def _route(self, operation: Operation, path: str, function_arn: str) -> apigateway.CfnMethod:
        checked_here = isinstance(operation.auth, Cognito)
        first = path == operation.path
        method = apigateway.CfnMethod(
            self,
            construct_id(operation.name) + ("" if first else f"At{path}".replace("/", "_")),
            rest_api_id=self.rest_api.ref,
            resource_id=self._resource(path),
            http_method=operation.verb,
            # The name of one method only.
            operation_name=camel_case(operation.name) if first else None,
            authorization_type="COGNITO_USER_POOLS" if checked_here else "NONE",
            authorizer_id=self._authorizer if checked_here else None,
            integration=apigateway.CfnMethod.IntegrationProperty(
                type="AWS_PROXY",
                integration_http_method="POST",
                credentials=self._invoke_role,
                uri=(
                    f"arn:{Aws.PARTITION}:apigateway:{Aws.REGION}:lambda:path/2015-03-31/functions/"
                    f"{function_arn}/invocations"
                ),
            ),
        )
        if not checked_here:
            for rule in ("AwsSolutions-APIG4", "AwsSolutions-COG4"):
                accept(method, rule, _OPEN[operation.auth.name])
        return method

    def _resource(self, path: str) -> str:
        if not path:
            return self.rest_api.attr_root_resource_id
        if path not in self._resources:
            parent, _, part = path.rpartition("/")
            resource = apigateway.CfnResource(
                self,
                f"Path{path}".replace("/", "_"),
                rest_api_id=self.rest_api.ref,
                parent_id=self._resource(parent),
                path_part=part,
            )
            self._resources[path] = resource.ref
        return self._resources[path]

    def _answers(self, envelope: Envelope) -> list[apigateway.CfnGatewayResponse]:
        made = []
        for kind, fault in ANSWERS.items():
            response = answer_of(envelope, fault)
            made.append(
                apigateway.CfnGatewayResponse(
                    self,
                    construct_id(kind.lower()) + "Answer",
                    rest_api_id=self.rest_api.ref,
                    response_type=kind,
                    status_code=str(response.status),
                    response_parameters={
                        "gatewayresponse.header.Content-Type": f"'{response.content_type}'",
                        "gatewayresponse.header.Cache-Control": "'no-store'",
                    },
                    response_templates={"application/json": response.text},
                )
            )
        return made

    def _publish(
        self, parts: list[apigateway.CfnMethod | apigateway.CfnGatewayResponse], access_lines: str
    ) -> apigateway.CfnStage:
        stage, system = self._stage, self._system
        # A deployment is a snapshot: only one with another name takes up what changed.
        deployment = apigateway.CfnDeployment(self, f"Deployment{_digest(system)}", rest_api_id=self.rest_api.ref)
        for part in parts:
            deployment.add_resource_dependency(part)
        # API Gateway would make this group itself, and keep its lines for ever.
        execution_lines = logs.CfnLogGroup(
            self,
            "ExecutionLines",
            log_group_name=f"API-Gateway-Execution-Logs_{self.rest_api.ref}/{stage.name}",
            retention_in_days=LOG_DAYS,
        )
        execution_lines.apply_removal_policy(stage.removal)
        made = apigateway.CfnStage(
            self,
            "Stage",
            rest_api_id=self.rest_api.ref,
            deployment_id=deployment.ref,
            stage_name=stage.name,
            access_log_setting=apigateway.CfnStage.AccessLogSettingProperty(
                destination_arn=f"arn:{Aws.PARTITION}:logs:{Aws.REGION}:{Aws.ACCOUNT_ID}:log-group:{access_lines}",
                format=json.dumps(_ACCESS_LOG),
            ),
            method_settings=[
                apigateway.CfnStage.MethodSettingProperty(
                    http_method="*",
                    resource_path="/*",
                    data_trace_enabled=False,
                    logging_level="ERROR",
                    metrics_enabled=True,
                    throttling_rate_limit=RATE,
                    throttling_burst_limit=BURST,
                )
            ],
        )
        made.add_resource_dependency(execution_lines)
        return made


def answer_of(envelope: Envelope, fault: Fault) -> Answer:
    """Return what the gateway answers in the envelope when no function did.

    Envelopes that call refusals a success mean those of an operation; here none ran, so HTTP says what happened.
    """
    with clock.frozen(clock.from_millis(_MARKED_MILLIS)):
        response = envelope.fault(fault)
    status = fault.status if response.status == 200 else response.status
    return Answer(status, text_of(response).replace(str(_MARKED_MILLIS), _REQUEST_MILLIS), response.content_type)


def text_of(response: Response) -> str:
    """Return the body of an answer that is given without a function, which is always text."""
    return response.body if isinstance(response.body, str) else response.body.decode()


def _digest(system: System) -> str:
    routes = [
        [operation.verb, *operation.paths, operation.name, operation.auth.name] for operation in system.operations
    ]
    answers = {kind: answer_of(system.api.envelope, fault) for kind, fault in ANSWERS.items()}
    # What this file makes of them belongs to the snapshot too.
    content = json.dumps([routes, answers]).encode() + Path(__file__).read_bytes()
    return hashlib.sha256(content).hexdigest()[:12]
