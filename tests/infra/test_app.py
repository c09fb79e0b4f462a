"""The app as a whole: which stacks it makes, how large they are, and what the rule checkers say of them."""

import json
import os
import re
import subprocess
import sys
from collections import Counter

import pytest
from aws_cdk import App
from cfnlint.api import ManualArgs, lint

from infra.discovery import ROOT, systems
from infra.stages import Stage

# CloudFormation takes no more of one template; a stack that comes near has to be cut before it is too late.
HARD_LIMIT = 500
RESOURCE_LIMIT = 475


@pytest.mark.parametrize("stage", ["prod", "local"])
def test_stacks(stage, request):
    made = request.getfixturevalue(stage)

    wanted = [f"citypass-{stage}-platform"]
    for system in systems():
        wanted += [f"citypass-{stage}-{system}-data", f"citypass-{stage}-{system}"]
    assert sorted(made.templates) == sorted(wanted)


def test_resources_stay_below_the_limit(prod):
    for name, template in prod.templates.items():
        assert len(template["Resources"]) < RESOURCE_LIMIT, name


def test_the_largest_system_stays_below_the_limit(large):
    counted = {name: len(template["Resources"]) for name, template in large.templates.items()}

    assert max(counted.values()) < RESOURCE_LIMIT < HARD_LIMIT, counted


def test_what_an_operation_a_worker_and_a_job_cost(large):
    kinds = Counter(resource["Type"] for resource in large.stack("large")["Resources"].values())
    operations, further_paths, workers, jobs = 85, 5, 6, 2
    # What `/api/…/send` and `/shown/{thing}/{part}` have above and below.
    inner_paths = 14
    functions = operations + workers + jobs

    assert (kinds.pop("AWS::Lambda::Function"), kinds.pop("AWS::IAM::Role")) == (functions, functions + 1)
    assert kinds.pop("AWS::ApiGateway::Method") == operations + further_paths
    assert kinds.pop("AWS::ApiGateway::Resource") == operations + further_paths + inner_paths
    assert kinds.pop("AWS::Lambda::EventSourceMapping") == workers
    for kind in ("AWS::Events::Rule", "AWS::Lambda::Permission", "AWS::Lambda::EventInvokeConfig"):
        assert kinds.pop(kind) == jobs
    # A job fails, a worker fails, a queue waits, a queue's messages failed; the gateway's three, and the failed runs'.
    assert kinds.pop("AWS::CloudWatch::Alarm") == jobs + 3 * workers + 4
    # What is there once.
    assert kinds.total() < 35
    queues = Counter(resource["Type"] for resource in large.stack("large-data")["Resources"].values())
    assert queues["AWS::SQS::Queue"] == queues["AWS::SQS::QueuePolicy"] == 2 * workers


@pytest.mark.parametrize("stage", ["prod", "sample"])
def test_every_template_passes_cfn_lint(stage, request):
    for name, template in request.getfixturevalue(stage).templates.items():
        matches = lint(json.dumps(template), config=ManualArgs(regions=["us-east-1"]))
        assert [f"{name}: {match}" for match in matches] == []


def test_every_accepted_finding_would_be_one(tmp_path, monkeypatch, make_sample):
    accepted: set[tuple[str, str]] = set()

    def note(construct, rule, reason):
        assert len(reason.split()) > 3
        accepted.add((rule, construct.node.path))

    for module in ("platform_stack", "data_stack", "functions", "gateway", "jobs"):
        monkeypatch.setattr(f"infra.{module}.accept", note)
    app = make_sample(tmp_path)
    with pytest.raises(RuntimeError, match="ValidationFailed"):
        app.synth()

    (report,) = json.loads((tmp_path / "validation-report.json").read_text())["pluginReports"]
    found = {
        (violation["ruleName"], construct["constructPath"].removesuffix("/Resource"))
        for violation in report["violations"]
        for construct in violation["violatingConstructs"]
    }
    assert found == accepted


@pytest.mark.parametrize("stage", ["prod", "sample"])
def test_nothing_is_found_but_what_was_accepted(stage, request):
    report = request.getfixturevalue(stage).folder / "validation-report.json"

    findings = json.loads(report.read_text())["pluginReports"] if report.exists() else []
    assert [finding for one in findings for finding in one["violations"]] == []


@pytest.mark.parametrize("stack", ["platform", "data", "functions"])
def test_every_resource_is_tagged(prod, stack):
    template = prod.stack({"platform": "platform", "data": "chatbot-data", "functions": "chatbot"}[stack])
    tags = [
        {tag["Key"]: tag["Value"] for tag in resource["Properties"]["Tags"]}
        for resource in template["Resources"].values()
        if isinstance(resource.get("Properties", {}).get("Tags"), list)
    ]

    wanted = {"project": "citypass", "stage": "prod"} | ({} if stack == "platform" else {"system": "chatbot"})
    assert tags
    assert all(found == wanted for found in tags)


def test_templates_name_no_account(prod):
    for template in prod.templates.values():
        assert not re.search(r"\b\d{12}\b", json.dumps(template))


def test_code_is_referred_to_within_its_own_stack_only(prod):
    imports = {value for template in prod.templates.values() for value in imported(template)}
    kinds = {name.rpartition("ExportsOutput")[2] for name in imports}

    assert all(kind.startswith(("Ref", "FnGetAtt")) for kind in kinds)
    assert not [kind for kind in kinds if "Layer" in kind or "Function" in kind]


def imported(node):
    if isinstance(node, dict):
        if "Fn::ImportValue" in node:
            yield node["Fn::ImportValue"]
        for part in node.values():
            yield from imported(part)
    elif isinstance(node, list):
        for part in node:
            yield from imported(part)


def test_synthesis_needs_neither_credentials_nor_a_working_folder(tmp_path):
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "CDK_OUTDIR": str(tmp_path / "out")}
    done = subprocess.run(
        [sys.executable, str(ROOT / "app.py")],
        cwd=tmp_path,
        env=environment | {"JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "true"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "citypass-local-chatbot.template.json").is_file()


def test_command_line_finds_the_app():
    assert json.loads((ROOT / "cdk.json").read_text())["app"] == ".venv/bin/python app.py"


@pytest.mark.parametrize("name", ["", "Prod", "p", "9lives", "pre-prod", "x" * 13])
def test_stage_names_fit_into_every_resource_name(name):
    with pytest.raises(ValueError, match="lower-case letters"):
        Stage(name)


@pytest.mark.parametrize(
    ("context", "environment", "address"),
    [
        ({}, {}, ""),
        ({"public-url": "https://chat.example.com"}, {}, "https://chat.example.com"),
        ({"public-url": "https://{system}.example.com/"}, {}, "https://chatbot.example.com"),
        (
            {"public-url": "https://a.example.com"},
            {"PUBLIC_URL": "https://b.example.com/x/"},
            "https://b.example.com/x",
        ),
    ],
)
def test_a_domain_of_our_own_comes_from_the_deployer(context, environment, address):
    assert Stage.of(App(context=context), environment).address("chatbot") == address


@pytest.mark.parametrize(
    "domain", ["chat.example.com", "ftp://chat.example.com", "https://a.example.com/?x", "https://"]
)
def test_what_is_no_address_is_refused(domain):
    with pytest.raises(ValueError, match="public-url"):
        Stage("prod", domain=domain)


def test_functions_are_told_the_domain_instead_of_the_gateways_address(tmp_path, make_sample):
    app = make_sample(tmp_path, **{"public-url": "https://{system}.example.com"})
    template = app.synth().get_stack_by_name("citypass-prod-sample").template

    told = {
        resource["Properties"]["Environment"]["Variables"]["PUBLIC_URL"]
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::Lambda::Function"
    }
    assert told == {"https://sample.example.com"}
    # People who look for the gateway itself find it.
    assert "execute-api" in json.dumps(template["Outputs"]["ApiUrl"])
