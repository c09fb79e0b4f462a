"""Each Lambda function: what runs, and what it is told."""

from dataclasses import replace

import pytest
from aws_cdk import Aws

from infra.discovery import declarations, systems
from infra.functions import environment
from infra.permissions import Resources
from infra.stages import Stage
from kernel.settings import Settings, environment_name

FUNCTION = "AWS::Lambda::Function"
PLACE = Resources(
    stage=Stage("prod"),
    system="sample",
    key_arn="key",
    pool_arn="pool-arn",
    pool_id="pool",
    pool_client_id="client",
    signing_secret_arn="secret",
    public_url="https://sample.test",
    certificate_key_arn="certificate-key",
    sms_secret_arn="sms-secret",
)
ALWAYS = {"STAGE": "prod", "SYSTEM": "sample", "PUBLIC_URL": "https://sample.test"}


@pytest.fixture
def variables(sample_system):
    declared = {function.name: function for function in sample_system.functions}
    return lambda name, place=PLACE, **deployer: environment(declared[name], place, deployer)


@pytest.mark.parametrize("stage", ["prod", "local"])
@pytest.mark.parametrize("system", systems())
def test_every_declaration_is_a_function(stage, system, request):
    made = request.getfixturevalue(stage)
    declared = declarations(system).functions
    assert len(made.properties(system, FUNCTION)) == len(declared)
    for function in declared:
        found = made.one(system, FUNCTION, FunctionName=made.stage.resource(system, function.name))
        assert found["Handler"] == f"{function.name}.{function.name}"
        assert (found["MemorySize"], found["Timeout"]) == (function.memory, function.timeout)
        assert (found["Runtime"], found["Architectures"]) == ("python3.14", ["arm64"])
        assert found["Description"] == function.description.splitlines()[0]
        assert found["LoggingConfig"] == {"LogFormat": "Text", "LogGroup": {"Ref": "FunctionsLines"}}
        assert found["RecursiveLoop"] == "Terminate"


def test_size_and_time_come_from_the_declaration(sample):
    job = sample.one("sample", FUNCTION, FunctionName="citypass-prod-sample-clean_things")
    operation = sample.one("sample", FUNCTION, FunctionName="citypass-prod-sample-save_thing")

    assert (job["MemorySize"], job["Timeout"]) == (1024, 300)
    assert (operation["MemorySize"], operation["Timeout"]) == (512, 20)


@pytest.mark.parametrize("system", systems())
def test_layers_are_the_systems_own(prod, local, system):
    for made, wanted in ((prod, ["vendor", "kernel", system]), (local, ["kernel", system])):
        layers = made.resources(system, "AWS::Lambda::LayerVersion")
        names = {logical: layer["Properties"]["LayerName"] for logical, layer in layers.items()}
        for function in made.properties(system, FUNCTION):
            mounted = [names[layer["Ref"]] for layer in function["Layers"]]
            assert mounted == [made.stage.resource(system, name) for name in wanted]


def test_code_is_the_operations_file_alone(prod):
    keys = [function["Code"]["S3Key"] for function in prod.properties("chatbot", FUNCTION)]

    for key in keys:
        staged = prod.folder / f"asset.{key.removesuffix('.zip')}"
        assert len([path for path in staged.iterdir() if path.name != "__pycache__"]) == 1


def test_nothing_granted_nothing_told(variables):
    assert variables("redeem") == ALWAYS
    assert variables("note_event") == ALWAYS
    assert variables("clean_things") == ALWAYS


def test_sign_in_is_told_the_pool(variables):
    assert variables("login") == ALWAYS | {"POOL_ID": "pool", "POOL_CLIENT_ID": "client"}


def test_partner_key_is_told_who_issues_tokens(variables):
    told = variables("find_things")

    assert told.pop("POOL_ISSUER").startswith("https://cognito-idp.")
    assert told == ALWAYS | {"POOL_ID": "pool", "POOL_CLIENT_ID": "client"}


def test_encryption_is_told_the_key(variables):
    assert variables("list_parts") == ALWAYS | {"KEY_ID": "key"}


def test_signing_is_told_the_secret(variables):
    assert variables("save_thing") == ALWAYS | {"SIGNING_SECRET": "secret"}


def test_certificates_are_told_their_own_key(variables):
    assert variables("replace_thing") == ALWAYS | {"CERTIFICATE_KEY_ID": "certificate-key"}


def test_each_secret_is_told_by_its_own_name(variables):
    assert variables("change_thing") == ALWAYS | {
        "POOL_ID": "pool",
        "POOL_CLIENT_ID": "client",
        "SIGNING_SECRET": "secret",
        "SMS_SECRET": "sms-secret",
    }


def test_deployer_overrides_what_has_a_default(variables):
    endpoints = {"LINE_API_ENDPOINT": "http://127.0.0.1:1", "SMS_API_ENDPOINT": "http://127.0.0.1:2"}
    told = variables("note_event", **endpoints, TIME_ZONE="+00:00", AWS_REGION="x", STAGE="y", POOL_ID="z")

    assert told == ALWAYS | endpoints | {"TIME_ZONE": "+00:00"}


@pytest.mark.parametrize("name", ["show_image", "save_image", "draw_thing"])
def test_who_may_use_files_is_told_the_bucket(variables, name):
    told = variables(name)

    assert told == ALWAYS | {"FILES_BUCKET": f"citypass-prod-files-{Aws.ACCOUNT_ID}-{Aws.REGION}"}


@pytest.mark.parametrize(("stage", "told"), [("prod", {}), ("local", {"OUTBOUND_EXCEPTIONS": "localhost:8791"})])
def test_private_addresses_are_never_opened_on_a_real_stage(variables, stage, told):
    place = replace(PLACE, stage=Stage(stage))

    assert variables("redeem", place, OUTBOUND_EXCEPTIONS="localhost:8791") == ALWAYS | {"STAGE": stage} | told


def test_memory_comes_from_the_declaration(sample):
    assert sample.one("sample", FUNCTION, FunctionName="citypass-prod-sample-save_image")["MemorySize"] == 1536
    assert sample.one("sample", FUNCTION, FunctionName="citypass-prod-sample-draw_thing")["Timeout"] == 900


def test_functions_are_told_only_what_settings_know(prod):
    known = {environment_name(name) for name in Settings.__dataclass_fields__}
    for system in systems():
        for function in prod.properties(system, FUNCTION):
            assert function["Environment"]["Variables"].keys() <= known
