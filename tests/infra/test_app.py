"""The app as a whole: which stacks it makes, how large they are, and what the rule checkers say of them."""

import json
import os
import re
import subprocess
import sys
from collections import Counter

import pytest
from cfnlint.api import ManualArgs, lint

from infra.discovery import ROOT, declarations, systems
from infra.stages import Stage

RESOURCE_LIMIT = 450
LARGEST_SYSTEM = 60


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


@pytest.mark.parametrize("system", systems())
def test_sixty_operations_stay_below_the_limit(prod, system):
    template = prod.stack(system)
    operations = len(declarations(system).operations)
    kinds = Counter(resource["Type"] for resource in template["Resources"].values())
    for_each = 4
    assert kinds["AWS::Lambda::Function"] + kinds["AWS::ApiGateway::Method"] >= 2 * operations

    projected = len(template["Resources"]) + for_each * max(0, LARGEST_SYSTEM - operations)

    assert projected < RESOURCE_LIMIT


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

    for module in ("platform_stack", "data_stack", "gateway", "jobs"):
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
