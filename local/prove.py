"""`make prove`: the books of every merchant of the local stack, recomputed from their entries, and every seal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from local.demo_shop import Counter
from local.shop_caller import Office
from local.steps import Problem, duration

# A proof of a demo shop takes seconds; the worker's first start takes longer on a busy machine.
_PATIENCE = 300.0
_PAUSE = 0.5
_SHOWN = 20
_COUNTED = ("cards", "lots", "orders", "coupons", "entries", "days", "shifts")


def prove(base: str, username: str, password: str, *, patience: float = _PATIENCE) -> bool:
    """Prove the books of every merchant that the operator may see, print what was proven; False when one is wrong."""
    office = Office(base)
    office.sign_in(username, password)
    started = time.monotonic()
    balanced = True
    for merchant in _merchants(office):
        proof = _proven(office, merchant["id"], patience)
        _print(merchant, proof)
        balanced &= proof["balanced"] is True
    took = duration(time.monotonic() - started)
    print(f"the books balance ({took})" if balanced else f"THE BOOKS DO NOT BALANCE ({took})", flush=True)
    return balanced


def _merchants(office: Office) -> Iterator[Mapping[str, Any]]:
    cursor = ""
    while True:
        page = office.data("GET", "merchants", {"limit": 100, **({"cursor": cursor} if cursor else {})})
        yield from page["items"]
        cursor = page["cursor"]
        if not cursor:
            return


def _proven(office: Office, merchant: int, patience: float) -> Mapping[str, Any]:
    """Start a proof of a merchant and wait for its end; one that is running already has to end before."""
    deadline = time.monotonic() + patience
    place = f"merchants/{merchant}/proofs"
    while (answer := office.call("POST", place)).status == 409:
        _wait(deadline, f"another proof of merchant {merchant} does not end")
    if answer.status != 200:
        raise Problem(f"POST /admin/{place} answered {answer.status}: {answer.raw[:500].decode()}")
    started = answer.body["data"]["id"]
    while True:
        proof: Mapping[str, Any] = office.data("GET", f"{place}/{started}")
        if proof["state"] == "done":
            return proof
        if proof["state"] == "failed":
            raise Problem(f"the proof {started} of merchant {merchant} failed: see its worker's log")
        _wait(deadline, f"the proof {started} of merchant {merchant} is still in its phase {proof['phase']}")


def _wait(deadline: float, problem: str) -> None:
    if time.monotonic() >= deadline:
        raise Problem(problem)
    time.sleep(_PAUSE)


def _print(merchant: Mapping[str, Any], proof: Mapping[str, Any]) -> None:
    counts = proof["counts"]
    print(f"{merchant['name']} ({merchant['id']}): {', '.join(f'{counts[name]} {name}' for name in _COUNTED)}")
    for account, amount in proof["accounts"].items():
        print(f"    {account:<22}{_exact(amount):>14.2f}")
    if proof["found"] == len(proof["findings"]) and not any(map(_of_seal, proof["findings"])):
        print(f"    {counts['sealed']} days sealed, each chained to the one before")
    if proof["unproven"]:
        print(f"    changed all the while, not proven: {', '.join(proof['unproven'])}")
    for finding in proof["findings"][:_SHOWN]:
        print(f"    ✗ {_told(finding)}")
    if (more := proof["found"] - len(proof["findings"][:_SHOWN])) > 0:
        print(f"    ✗ and {more} more")


def _of_seal(finding: Mapping[str, Any]) -> bool:
    return str(finding["subject"]).startswith("seal#")


def _exact(amount: float) -> Decimal:
    return Decimal(str(amount))


def _told(finding: Mapping[str, Any]) -> str:
    """Return a finding as one line: what, where, and what it should be."""
    places = {"entry": finding["entryId"], "day": finding["day"], "attribute": finding["attribute"]}
    line = " ".join(filter(None, (finding["what"], finding["subject"])))
    line += "".join(f", {name} {value}" for name, value in places.items() if value is not None)
    if finding["expected"] is not None or finding["found"] is not None:
        line += f": expected {finding['expected']}, found {finding['found']}"
    return line


def main() -> int:
    """Prove the books of the local stack; 1 when they do not balance, or cannot be proven."""
    try:
        counter = Counter.read()
        return 0 if prove(counter.base, counter.shop.operator.username, counter.shop.operator.password) else 1
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
