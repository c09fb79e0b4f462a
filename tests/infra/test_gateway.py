"""The gateway: every operation at its route with the right guard, and answers of its own in the system's envelope."""

import copy
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from infra import gateway
from infra.discovery import camel_case, declarations, systems
from infra.gateway import ANSWERS, BURST, RATE
from kernel import clock
from kernel.auth import Cognito
from kernel.envelopes import Response, json_text
from kernel.errors import Fault, Invalid, NotFound, TooLarge, TooMany, Unauthorized

NOON = datetime(2020, 1, 1, 12, tzinfo=UTC)
METHOD = "AWS::ApiGateway::Method"
ANSWER = "AWS::ApiGateway::GatewayResponse"
EVERY_OPERATION = [(system, operation) for system in systems() for operation in declarations(system).operations]


def paths(made, system):
    """Return the path of each API Gateway resource by its logical id."""
    parts = made.resources(system, "AWS::ApiGateway::Resource")
    found = {}
    for name, resource in parts.items():
        path = ""
        while True:
            path = f"/{resource['Properties']['PathPart']}{path}"
            parent = resource["Properties"]["ParentId"].get("Ref")
            if parent is None:
                break
            resource = parts[parent]
        found[name] = path
    return found


@pytest.mark.parametrize("stage", ["prod", "local"])
@pytest.mark.parametrize(("system", "operation"), EVERY_OPERATION, ids=lambda value: getattr(value, "name", value))
def test_every_operation_has_its_route_and_its_guard(stage, system, operation, request, plain):
    made = request.getfixturevalue(stage)
    name = camel_case(operation.name)
    method = made.one(system, METHOD, OperationName=name)
    (authorizer,) = made.resources(system, "AWS::ApiGateway::Authorizer")

    assert paths(made, system)[method["ResourceId"]["Ref"]] == operation.path
    assert method["HttpMethod"] == operation.verb
    guard = (method["AuthorizationType"], method.get("AuthorizerId"))
    signed_in = isinstance(operation.auth, Cognito)
    assert guard == (("COGNITO_USER_POOLS", {"Ref": authorizer}) if signed_in else ("NONE", None))
    function = made.stage.resource(system, operation.name)
    target = method["Integration"]["Uri"]["Fn::Join"][1][-2]["Fn::GetAtt"][0]
    assert made.stack(system)["Resources"][target]["Properties"]["FunctionName"] == function


@pytest.mark.parametrize("system", systems())
def test_there_is_no_other_route(prod, system):
    every = {(operation.verb, path) for operation in declarations(system).operations for path in operation.paths}
    found = [
        (method["HttpMethod"], paths(prod, system)[method["ResourceId"]["Ref"]])
        for method in prod.properties(system, METHOD)
    ]

    assert len(found) == len(every)
    assert set(found) == every


def test_routes_of_every_kind(sample):
    signed_in, function_checks = "COGNITO_USER_POOLS", "NONE"
    routes = {
        (method["HttpMethod"], paths(sample, "sample")[method["ResourceId"]["Ref"]]): (
            method.get("OperationName"),
            function_behind(sample, method),
            method["AuthorizationType"],
        )
        for method in sample.properties("sample", METHOD)
    }

    assert routes == {
        ("POST", "/partner/things"): ("findThings", "find_things", function_checks),
        ("POST", "/things/{thing_id}/parts"): ("listParts", "list_parts", signed_in),
        ("POST", "/login"): ("login", "login", function_checks),
        ("POST", "/redeem"): ("redeem", "redeem", function_checks),
        ("POST", "/things"): ("saveThing", "save_thing", signed_in),
        ("POST", "/images"): ("saveImage", "save_image", signed_in),
        ("GET", "/images/{thing_id}/{size}"): ("showImage", "show_image", function_checks),
        ("POST", "/calls/{channel}"): ("takeCall", "take_call", function_checks),
        ("POST", "/call"): (None, "take_call", function_checks),
        ("POST", "/partner/{partner}/call"): (None, "take_call", function_checks),
        ("GET", "/exports/{ticket}"): ("fetchExport", "fetch_export", function_checks),
        ("POST", "/hook"): ("takeEvents", "take_events", function_checks),
        ("GET", "/hook"): ("verifyHook", "verify_hook", function_checks),
        ("GET", "/staff/things"): ("searchThings", "search_things", signed_in),
        ("PUT", "/things/{thing_id}"): ("replaceThing", "replace_thing", signed_in),
        ("PATCH", "/things/{thing_id}"): ("changeThing", "change_thing", function_checks),
        ("POST", "/letters"): ("sendLetter", "send_letter", function_checks),
    }


def function_behind(made, method):
    target = method["Integration"]["Uri"]["Fn::Join"][1][-2]["Fn::GetAtt"][0]
    name = made.stack("sample")["Resources"][target]["Properties"]["FunctionName"]
    return name.removeprefix("citypass-prod-sample-")


@pytest.mark.parametrize("system", systems())
def test_whatever_goes_through_is_bytes(prod, system):
    # Otherwise a picture is decoded only for callers whose Accept names its type, and most send */*.
    assert prod.one(system, "AWS::ApiGateway::RestApi")["BinaryMediaTypes"] == ["*/*"]


def test_a_route_more_or_less_is_another_deployment(sample_system):
    first, *rest = sample_system.operations
    takes_calls = next(operation for operation in sample_system.operations if len(operation.paths) > 1)
    digests = {gateway._digest(sample_system), gateway._digest(replace(sample_system, operations=(first, *rest[1:])))}
    one_path = copy.copy(takes_calls)
    one_path.paths = takes_calls.paths[:1]
    others = (operation for operation in sample_system.operations if operation is not takes_calls)
    digests.add(gateway._digest(replace(sample_system, operations=(*others, one_path))))

    assert len(digests) == 3


def test_authorizer_asks_the_systems_own_pool(sample, plain):
    authorizer = sample.one("sample", "AWS::ApiGateway::Authorizer")

    (pool,) = plain(authorizer["ProviderARNs"])
    assert pool.startswith("<citypass-prod-sample-data:ExportsOutputFnGetAttPool")
    assert authorizer["IdentitySource"] == "method.request.header.Authorization"


def test_one_role_invokes_the_operations_and_nothing_else(sample, plain):
    methods = sample.properties("sample", METHOD)
    (role,) = {method["Integration"]["Credentials"]["Fn::GetAtt"][0] for method in methods}
    (policy,) = sample.stack("sample")["Resources"][role]["Properties"]["Policies"]
    (statement,) = policy["PolicyDocument"]["Statement"]

    assert statement["Action"] == ["lambda:InvokeFunction"]
    functions = sample.resources("sample", "AWS::Lambda::Function")
    behind = {functions[arn["Fn::GetAtt"][0]]["Properties"]["FunctionName"] for arn in statement["Resource"]}
    names = (
        "change_thing", "fetch_export", "find_things", "list_parts", "login", "redeem", "replace_thing", "save_image",
        "save_thing", "search_things", "send_letter", "show_image", "take_call", "take_events", "verify_hook",
    )  # fmt: skip
    assert behind == {f"citypass-prod-sample-{name}" for name in names}
    assert sample.resources("sample", "AWS::Lambda::Permission").keys() == {
        name for name in sample.stack("sample")["Resources"] if "ScheduleMayInvoke" in name
    }


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("MISSING_AUTHENTICATION_TOKEN", NotFound("No such operation")),
        ("RESOURCE_NOT_FOUND", NotFound("No such operation")),
        ("UNAUTHORIZED", Unauthorized()),
        ("EXPIRED_TOKEN", Unauthorized()),
        ("ACCESS_DENIED", Unauthorized()),
        ("INVALID_SIGNATURE", Unauthorized()),
        ("REQUEST_TOO_LARGE", TooLarge("The request is larger than the gateway takes")),
        ("THROTTLED", TooMany("Too many requests; try again later")),
        ("QUOTA_EXCEEDED", TooMany("Too many requests; try again later")),
        ("UNSUPPORTED_MEDIA_TYPE", Invalid("This media type is not understood")),
        ("DEFAULT_4XX", Invalid("Bad request")),
        ("DEFAULT_5XX", Fault("Internal error")),
    ],
)
@pytest.mark.parametrize("system", systems())
def test_answers_of_the_gateway_are_in_the_envelope(prod, system, kind, fault):
    answer = prod.one(system, ANSWER, ResponseType=kind)

    with clock.frozen(NOON):
        wanted = declarations(system).api.envelope.fault(fault)
    told = answer["ResponseTemplates"]["application/json"].replace("$context.requestTimeEpoch", "1577880000000")
    assert told == wanted.body
    # An envelope may call a refusal a success, but where no function ran HTTP tells the truth.
    assert answer["StatusCode"] == str(fault.status if wanted.status == 200 else wanted.status)
    assert answer["ResponseParameters"] == {
        "gatewayresponse.header.Content-Type": f"'{wanted.content_type}'",
        "gatewayresponse.header.Cache-Control": "'no-store'",
    }


@pytest.mark.parametrize("kind", ["DEFAULT_4XX", "DEFAULT_5XX"])
def test_no_answer_says_the_same_as_the_default_of_its_kind(prod, kind):
    # Each would cost one of the resources that a stack may have.
    for system in systems():
        default = prod.one(system, ANSWER, ResponseType=kind)["ResponseTemplates"]
        same = [one["ResponseType"] for one in prod.properties(system, ANSWER) if one["ResponseTemplates"] == default]

        assert same == [kind]


def test_unknown_route_as_the_caller_sees_it(prod):
    answer = prod.one("chatbot", ANSWER, ResponseType="MISSING_AUTHENTICATION_TOKEN")

    body = json.loads(answer["ResponseTemplates"]["application/json"])
    assert body == {"ErrorCode": 400, "ErrorMessage": "No such operation", "Result": None}


class Dated:
    """Calls every refusal a success, and tells the time."""

    def fault(self, fault: Fault) -> Response:
        return Response(200, json_text({"code": fault.code, "time": int(clock.now().timestamp() * 1000)}))


def test_an_envelope_that_tells_the_time_tells_the_requests():
    answer = gateway.answer_of(Dated(), Unauthorized())

    assert answer.text == '{"code":"unauthorized","time":$context.requestTimeEpoch}'


@pytest.mark.parametrize(("fault", "status"), [(Unauthorized(), 401), (NotFound("x"), 404), (TooMany("x"), 429)])
def test_a_refusal_of_the_gateway_is_never_a_success(fault, status):
    assert gateway.answer_of(Dated(), fault).status == status


def test_an_operator_without_a_token_as_he_sees_it(prod):
    answer = prod.one("membership", ANSWER, ResponseType="UNAUTHORIZED")

    assert answer["StatusCode"] == "401"
    assert answer["ResponseTemplates"] == {
        "application/json": '{"errCode":1002,"result":1,"msg":"需要登录","time":$context.requestTimeEpoch}'
    }


def test_an_unknown_route_of_membership_as_the_caller_sees_it(prod):
    answer = prod.one("membership", ANSWER, ResponseType="MISSING_AUTHENTICATION_TOKEN")

    assert answer["StatusCode"] == "404"
    assert answer["ResponseTemplates"] == {
        "application/json": '{"errCode":404,"result":1,"msg":"No such operation","time":$context.requestTimeEpoch}'
    }


def test_answers_of_the_gateway_name_no_variable_but_the_time(prod):
    for system in systems():
        for answer in prod.properties(system, ANSWER):
            text = answer["ResponseTemplates"]["application/json"]
            assert "$" not in text.replace("$context.requestTimeEpoch", "")


@pytest.mark.parametrize("system", systems())
def test_the_deployment_does_not_depend_on_when_it_is_made(system):
    declared = declarations(system)
    with clock.frozen(NOON):
        first = gateway._digest(declared)

    assert gateway._digest(declared) == first


def test_deployment_waits_for_every_route_and_answer(sample):
    ((name, deployment),) = sample.resources("sample", "AWS::ApiGateway::Deployment").items()

    parts = {*sample.resources("sample", METHOD), *sample.resources("sample", ANSWER)}
    assert set(deployment["DependsOn"]) == parts
    assert len(parts) == 17 + len(ANSWERS)
    assert sample.one("sample", "AWS::ApiGateway::Stage")["DeploymentId"] == {"Ref": name}


def test_stage(sample, plain):
    stage = sample.one("sample", "AWS::ApiGateway::Stage")

    assert stage["StageName"] == "prod"
    (settings,) = stage["MethodSettings"]
    assert (settings["ThrottlingRateLimit"], settings["ThrottlingBurstLimit"]) == (RATE, BURST)
    assert (settings["LoggingLevel"], settings["DataTraceEnabled"]) == ("ERROR", False)
    assert plain(stage["AccessLogSetting"]["DestinationArn"]).endswith(":log-group:<AccessLines>")
    assert json.loads(stage["AccessLogSetting"]["Format"])["requestId"] == "$context.requestId"


@pytest.mark.parametrize("stage", ["prod", "local"])
@pytest.mark.parametrize("system", systems())
def test_outputs(stage, system, request, plain):
    outputs = {
        name: plain(output["Value"]) for name, output in request.getfixturevalue(stage).stack(system)["Outputs"].items()
    }

    assert outputs.keys() == {"ApiId", "ApiStage", "ApiUrl", "PoolId", "PoolClientId"}
    api = outputs["ApiId"]
    if stage == "prod":
        assert outputs["ApiUrl"] == f"https://{api}.execute-api.<AWS::Region>.<AWS::URLSuffix>/prod"
    else:
        assert outputs["ApiUrl"].endswith(f"/_aws/execute-api/{api}/local")


@pytest.mark.parametrize("stage", ["prod", "local"])
@pytest.mark.parametrize("system", systems())
def test_every_function_knows_the_address_of_the_gateway(stage, system, request):
    made = request.getfixturevalue(stage)
    address = made.stack(system)["Outputs"]["ApiUrl"]["Value"]

    functions = made.properties(system, "AWS::Lambda::Function")
    assert {json.dumps(one["Environment"]["Variables"]["PUBLIC_URL"]) for one in functions} == {json.dumps(address)}
