"""`make up`: starts the embedded cloud, deploys all stacks with the CDK command line, seeds two demo tenants."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from local import deployment
from local.cloud import Cloud, alone
from local.seed import Tenant, line_credentials, seed, write_json
from local.steps import ROOT, Problem, step

_REAL_LINE = {
    "LINE_API_ENDPOINT": "https://api.line.me",
    "LINE_DATA_API_ENDPOINT": "https://api-data.line.me",
}


def channel_endpoints(cloud: Cloud, variables: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return where the functions reach the channels: what the environment says, else nothing leaves the machine.

    With the credentials of a real LINE channel in the environment, LINE is the real one.
    """
    doubles = {"MESSENGER_API_ENDPOINT": cloud.messenger_url, "WECHAT_API_ENDPOINT": cloud.wechat_url}
    for name in ("LINE_API_ENDPOINT", "LINE_DATA_API_ENDPOINT"):
        doubles[name] = _REAL_LINE[name] if line_credentials(variables) else cloud.simulator_url
    endpoints = {}
    for name, default in sorted(doubles.items()):
        endpoints[name] = (variables.get(name) or default).rstrip("/")
        if not endpoints[name].startswith(("http://", "https://")):
            raise Problem(f"{name}={endpoints[name]} is no address: it starts with http:// or https://")
    return endpoints


def bring_up(cloud: Cloud, endpoints: Mapping[str, str], *, simulator: str | None) -> dict[str, Tenant]:
    """Start, deploy and seed; return the demo tenants. What is there already is kept."""
    started = cloud.emulator.running
    with step("MiniStack, already running" if started else "MiniStack"):
        cloud.start()
    doubles = [
        (cloud.simulator_url, cloud.simulator),
        (cloud.messenger_url, cloud.messenger),
        (cloud.wechat_url, cloud.wechat),
    ]
    wanted = [double for url, double in doubles if url in endpoints.values()]
    for double in [*wanted, cloud.cros] if wanted else []:
        with step(double.name):
            double.start()
    with step("CDK bootstrap") as show:
        if not deployment.bootstrap(cloud):
            show("done before")
    with step("Stacks") as show:
        deployment.deploy(cloud, endpoints, show)
    with step("Demo tenants") as show:
        systems = {system.name: system for system in deployment.systems(cloud)}
        if "chatbot" not in systems:
            raise Problem("the deployment has no chatbot: see infra")
        bases = {name: cloud.api_base(system.api_id, system.api_stage) for name, system in systems.items()}
        write_json(cloud.folder / "endpoints.json", bases)
        return seed(cloud, systems["chatbot"], bases["chatbot"], cloud.folder / "demo.json", show, simulator=simulator)


def _table(cloud: Cloud, endpoints: Mapping[str, str], everybody: Mapping[str, Tenant]) -> str:
    bases = {system.name: cloud.api_base(system.api_id, system.api_stage) for system in deployment.systems(cloud)}
    rows = list(bases.items())
    rows += [(f"  {name}", f"adminId {one.adminId}, password {one.password}") for name, one in everybody.items()]
    doubles = {cloud.simulator_url, cloud.messenger_url, cloud.wechat_url}
    for channel in ("LINE", "Messenger", "WeChat"):
        url = endpoints[f"{channel.upper()}_API_ENDPOINT"]
        rows.append((channel, f"{url} (simulator)" if url in doubles else url))
    if doubles & set(endpoints.values()):
        rows.append(("CROS", f"{cloud.cros_url} (double)"))
    rows.append(("more", f"{_shown(cloud.folder / 'endpoints.json')}, {_shown(cloud.folder / 'demo.json')}"))
    rows.append(("next", "make demo, make chat, make down"))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {said}" for name, said in rows)


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def main() -> int:
    """Bring the local stack up and print where everything is."""
    try:
        cloud = Cloud.of_environment()
        endpoints = channel_endpoints(cloud)
        simulator = cloud.simulator_url if endpoints["LINE_API_ENDPOINT"] == cloud.simulator_url else None
        with alone(cloud.folder):
            everybody = bring_up(cloud, endpoints, simulator=simulator)
        print()
        print(_table(cloud, endpoints, everybody))
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; make up goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
