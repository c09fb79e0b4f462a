"""Puts the stacks on the embedded cloud with the real CDK command line, and reads where they are."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from local.cloud import ACCOUNT, HOST, REGION, START_OVER, Cloud
from local.steps import PYTHON, ROOT, Problem, run

if TYPE_CHECKING:
    from mypy_boto3_cloudformation.type_defs import StackTypeDef

STAGE = "local"
_CDK = ROOT / "node_modules" / ".bin" / "cdk"
_TOOLKIT = "CDKToolkit"
# What the templates and the code in them are made from.
_SOURCES = ("app.py", "cdk.json", "package-lock.json", "locks", "infra", "layers", "functions")
_EVENT = re.compile(r"^(citypass-\S+) \| +(\d+)(?:/\d+)? \|")
_DONE = re.compile(r"(CREATE|UPDATE|ROLLBACK)_COMPLETE$")


class System(NamedTuple):
    """One deployed system, as the outputs of its stack say."""

    name: str
    api_id: str
    api_stage: str
    pool_id: str
    pool_client_id: str


def bootstrap(cloud: Cloud) -> bool:
    """Give the cloud what the CDK needs in an account; False when it has it already."""
    if any(stack["StackName"] == _TOOLKIT and _DONE.search(stack["StackStatus"]) for stack in _stacks(cloud)):
        return False
    # From a folder without a cdk.json the command line does not synthesize our stacks, which it has no use for.
    _cdk(cloud, "bootstrap", f"aws://{ACCOUNT}/{REGION}", folder=cloud.folder)
    return True


def deploy(cloud: Cloud, endpoints: Mapping[str, str], show: Callable[[str], None] = lambda detail: None) -> bool:
    """Deploy every stack; False when nothing changed since the last time.

    `endpoints` are the addresses of the channels, by the name of their variable.
    """
    variables = function_variables(endpoints, cros=cloud.cros_url)
    made_from = _made_from(variables)
    deployed = cloud.folder / "deployed.json"
    if deployed.exists() and json.loads(deployed.read_text()) == [made_from, _identities(cloud)]:
        return False
    deployed.unlink(missing_ok=True)

    def on_line(line: str) -> None:
        if match := _EVENT.match(line):
            show(f"{match[1].removeprefix(f'citypass-{STAGE}-')}: {match[2]} resources")

    show("(synthesizing)")
    options = ["--all", "--require-approval", "never", "--concurrency", "4", "--method", "direct"]
    options += ["--progress", "events", "-c", f"stage={STAGE}", "--output", str(cloud.folder / "cdk.out")]
    _cdk(cloud, "deploy", *options, variables=variables, on_line=on_line)
    deployed.write_text(json.dumps([made_from, _identities(cloud)]))
    return True


def function_variables(
    endpoints: Mapping[str, str], variables: Mapping[str, str] = os.environ, *, cros: str
) -> dict[str, str]:
    """Return what the functions are told: the channels' addresses, and which private ones tenants may name as well.

    `OUTBOUND_EXCEPTIONS` and `PUBLIC_URL` of the environment hold; without the first it is the stand-ins of the
    channels and, beside those, the one of CROS.
    """
    # No tenant names the provider of SMS.
    places = (urlsplit(url) for name, url in endpoints.items() if name != "SMS_API_ENDPOINT")
    stand_ins = sorted({place.netloc for place in places if place.hostname in (HOST, "localhost")})
    stand_ins += [urlsplit(cros).netloc] if stand_ins else []
    told = {"OUTBOUND_EXCEPTIONS": ",".join(stand_ins)}
    told |= {name: variables[name] for name in ("OUTBOUND_EXCEPTIONS", "PUBLIC_URL") if variables.get(name)}
    return {**endpoints, **{name: value for name, value in told.items() if value}}


def systems(cloud: Cloud) -> list[System]:
    """Return the systems that are deployed."""
    found = []
    for stack in _stacks(cloud):
        outputs = {one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs", [])}
        if stack["StackName"].startswith(f"citypass-{STAGE}-") and "ApiId" in outputs:
            name = stack["StackName"].removeprefix(f"citypass-{STAGE}-")
            keys = ("ApiId", "ApiStage", "PoolId", "PoolClientId")
            found.append(System(name, *(outputs[key] for key in keys)))
    return sorted(found)


def _stacks(cloud: Cloud) -> Iterator[StackTypeDef]:
    for page in cloud.cloudformation().get_paginator("describe_stacks").paginate():
        yield from page["Stacks"]


def _identities(cloud: Cloud) -> list[str]:
    # A cloud that lost its state has other stacks under the same names, or none.
    mine = (stack for stack in _stacks(cloud) if stack["StackName"].startswith(f"citypass-{STAGE}-"))
    return sorted(f"{stack['StackId']} {stack['StackStatus']}" for stack in mine)


def _made_from(variables: Mapping[str, str]) -> str:
    total = hashlib.sha256(json.dumps(dict(variables), sort_keys=True).encode())
    for source in _SOURCES:
        path = ROOT / source
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                total.update(f"\0{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    return total.hexdigest()


def _cdk(
    cloud: Cloud,
    command: str,
    *arguments: str,
    variables: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] = lambda line: None,
    folder: Path = ROOT,
) -> None:
    environment = cloud.clients_environment()
    environment |= {
        "PATH": f"{PYTHON.parent}:{environment['PATH']}",
        "CDK_DEFAULT_ACCOUNT": ACCOUNT,
        "CDK_DEFAULT_REGION": REGION,
        "CDK_DISABLE_CLI_TELEMETRY": "true",
        "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "true",
        **(variables or {}),
    }
    log = cloud.folder / "log" / f"cdk-{command}.log"
    called = [str(_CDK), command, *arguments, "--no-notices", "--no-color", "--ci"]
    if run(called, log, on_line=on_line, environment=environment, folder=folder):
        raise Problem(f"cdk {command} failed: {_complaint(log)} (all of it: {log}; {START_OVER})")


def _complaint(log: Path) -> str:
    lines = [line.strip() for line in log.read_text().splitlines() if line.strip()]
    telling = (line for line in lines if re.search(r"❌|_FAILED|Error\b", line))
    return next(telling, lines[-1] if lines else "it said nothing")
