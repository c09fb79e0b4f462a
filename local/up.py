"""`make up`: starts the embedded cloud, deploys all stacks with the CDK command line, seeds demo tenants."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from local import deployment
from local.cloud import Cloud, alone
from local.seed import Tenant, line_credentials, seed, write_json
from local.seed_shop import Shop, seed_shop
from local.steps import ROOT, Problem, step

_REAL_LINE = {
    "LINE_API_ENDPOINT": "https://api.line.me",
    "LINE_DATA_API_ENDPOINT": "https://api-data.line.me",
}


def channel_endpoints(cloud: Cloud, variables: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return where the functions reach the channels: what the environment says, else nothing leaves the machine.

    With the credentials of a real LINE channel in the environment, LINE is the real one.
    """
    doubles = {
        "MESSENGER_API_ENDPOINT": cloud.messenger_url,
        "WECHAT_API_ENDPOINT": cloud.wechat_url,
        "SMS_API_ENDPOINT": cloud.sms_url,
    }
    for name in ("LINE_API_ENDPOINT", "LINE_DATA_API_ENDPOINT"):
        doubles[name] = _REAL_LINE[name] if line_credentials(variables) else cloud.simulator_url
    endpoints = {}
    for name, default in sorted(doubles.items()):
        endpoints[name] = (variables.get(name) or default).rstrip("/")
        if not endpoints[name].startswith(("http://", "https://")):
            raise Problem(f"{name}={endpoints[name]} is no address: it starts with http:// or https://")
    return endpoints


class Demo(NamedTuple):
    """Whom the demo data belongs to: the tenants of the chatbot, and the merchant with its shop."""

    tenants: dict[str, Tenant]
    shop: Shop


def bring_up(cloud: Cloud, endpoints: Mapping[str, str], *, simulator: str | None) -> Demo:
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
    wanted += [cloud.cros] if wanted else []
    wanted += [cloud.sms] if endpoints["SMS_API_ENDPOINT"] == cloud.sms_url else []
    for double in wanted:
        with step(double.name):
            double.start()
    with step("CDK bootstrap") as show:
        if not deployment.bootstrap(cloud):
            show("done before")
    with step("Stacks") as show:
        deployment.deploy(cloud, endpoints, show)
    with step("Demo tenants") as show:
        systems = {system.name: system for system in deployment.systems(cloud)}
        if missing := {"chatbot", "membership"} - set(systems):
            raise Problem(f"the deployment has no {' and no '.join(sorted(missing))}: see infra")
        bases = {name: cloud.api_base(system.api_id, system.api_stage) for name, system in systems.items()}
        write_json(cloud.folder / "endpoints.json", bases)
        kept = cloud.folder / "demo.json"
        tenants = seed(cloud, systems["chatbot"], bases["chatbot"], kept, show, simulator=simulator)
        return Demo(tenants, seed_shop(cloud, systems["membership"], bases["membership"], kept, show))


def _table(cloud: Cloud, endpoints: Mapping[str, str], demo: Demo) -> str:
    bases = {system.name: cloud.api_base(system.api_id, system.api_stage) for system in deployment.systems(cloud)}
    signs_in = {
        "chatbot": [(name, f"adminId {one.adminId}, password {one.password}") for name, one in demo.tenants.items()],
        "membership": [
            (name, f"{path}: username {one.username}, password {one.password}")
            for name, path, one in (
                ("cashier", "/web", demo.shop.cashier),
                ("owner", "/web", demo.shop.owner),
                ("back office", "/admin", demo.shop.operator),
            )
        ],
    }
    rows = []
    for system, base in bases.items():
        rows.append((system, base))
        rows += [(f"  {name}", said) for name, said in signs_in.get(system, [])]
    doubles = {cloud.simulator_url, cloud.messenger_url, cloud.wechat_url, cloud.sms_url}
    for channel in ("LINE", "Messenger", "WeChat", "SMS"):
        url = endpoints[f"{channel.upper()}_API_ENDPOINT"]
        rows.append((channel, f"{url} (simulator)" if url in doubles else url))
    if endpoints["SMS_API_ENDPOINT"] == cloud.sms_url:
        rows.append(("  codes", f"{cloud.sms_url}/_simulator/messages?phone={demo.shop.cashier_phone}"))
    if doubles & set(endpoints.values()):
        rows.append(("CROS", f"{cloud.cros_url} (double)"))
    rows.append(("more", f"{_shown(cloud.folder / 'endpoints.json')}, {_shown(cloud.folder / 'demo.json')}"))
    rows.append(("next", "make demo, make chat, make prove, make down"))
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
            demo = bring_up(cloud, endpoints, simulator=simulator)
        print()
        print(_table(cloud, endpoints, demo))
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; make up goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
