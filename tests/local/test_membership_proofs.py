"""`make prove` against the operations themselves, behind a gateway of this process."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from kernel.tables import Put, commit
from local import prove
from local.steps import Problem
from membership import proofs
from membership.tables import CardTable
from tests.conftest import NOW
from tests.histories import in_bank, play
from tests.shops import MERCHANT, OTHER_MERCHANT, furnish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.bank import Bank
    from tests.conftest import Cloud


class Gateway:
    """Answers HTTP as the deployed API does, for an operator of the platform."""

    def __init__(self, cloud: Cloud) -> None:
        self.operations = {one.name: one for one in cloud.system.operations}
        self.workers = {one.name: one for one in cloud.system.workers}
        self.cloud = cloud
        self.works = True
        self.lock = threading.Lock()

    def answer(self, verb: str, address: str, token: str | None) -> tuple[int, Any]:
        place = urlsplit(address)
        match verb, place.path.strip("/").split("/")[1:]:
            case "POST", ["login"]:
                return 200, {"data": {"idToken": "of the operator"}}
            case _ if token != "Bearer of the operator":
                return 401, {}
            case "GET", ["merchants"]:
                name, path = "list_merchants", {}
            case "POST", ["merchants", merchant, "proofs"]:
                name, path = "start_proof", {"merchant": merchant}
            case "GET", ["merchants", merchant, "proofs", proof]:
                name, path = "get_proof", {"merchant": merchant, "proof": proof}
                if self.works:
                    self.cloud.work(self.workers["prove_merchant"])
        query = dict(parse_qsl(place.query)) or None
        answer = self.cloud.call(self.operations[name], {}, path=path, query=query, groups=["platform"])
        return answer.status, answer.body


@pytest.fixture
def bank(cloud, monkeypatch) -> Bank:
    monkeypatch.setattr(prove, "_PAUSE", 0)
    return in_bank(cloud, monkeypatch)


@pytest.fixture
def gateway(cloud, bank) -> Iterator[Gateway]:
    gateway = Gateway(cloud)

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with gateway.lock:
                status, body = gateway.answer(self.command, self.path, self.headers.get("Authorization"))
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _answer

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        gateway.base = f"http://127.0.0.1:{server.server_port}"
        yield gateway
        server.shutdown()


@pytest.fixture
def proven(gateway, capsys) -> Callable[..., tuple[bool, list[str]]]:
    def run(**more: Any) -> tuple[bool, list[str]]:
        capsys.readouterr()
        balanced = prove.prove(gateway.base, "operator", "secret", **more)
        return balanced, [line for line in capsys.readouterr().out.splitlines() if not line.startswith("{")]

    return run


def test_books_that_balance_are_told_with_what_was_proven(cloud, bank, proven):
    for merchant in (MERCHANT, OTHER_MERCHANT):
        furnish(merchant)
    play(cloud, NOW)

    balanced, lines = proven()

    assert balanced is True
    assert lines[0] == "外婆味道 (12): 2 cards, 3 lots, 11 orders, 2 coupons, 25 entries, 2 days, 1 shifts"
    sealed = lines.index("    1 days sealed, each chained to the one before")
    accounts = dict(line.rsplit(maxsplit=1) for line in lines[1:sealed])
    held = {name: sum(getattr(card, name) for card in bank.rows(CardTable)) for name in ("principal", "gift")}
    assert accounts["    customer_principal"] == f"{held['principal'] / 100:.2f}"
    assert accounts["    customer_gift"] == f"{held['gift'] / 100:.2f}"
    assert lines[-1].startswith("the books balance (")


def test_books_that_do_not_balance_are_told_with_what_is_wrong(cloud, bank, proven):
    furnish()
    play(cloud, NOW)
    card = bank.rows(CardTable)[0]
    card.gift += 5
    commit(Put(card))

    balanced, lines = proven()

    assert balanced is False
    assert f"    ✗ card_changed card#{card.id}, attribute gift: expected {card.gift - 5}, found {card.gift}" in lines
    assert lines[-1].startswith("THE BOOKS DO NOT BALANCE")


def test_waiting_has_an_end(cloud, gateway, proven):
    furnish()
    gateway.works = False

    with pytest.raises(Problem, match="is still in its phase cards"):
        proven(patience=0)
    # It is still running now, so that another one has to wait for it.
    with pytest.raises(Problem, match="another proof of merchant 12 does not end"):
        proven(patience=0)


def test_a_proof_that_fails_is_told(cloud, gateway, proven, monkeypatch):
    furnish()
    monkeypatch.setitem(proofs._PHASES, "cards", lambda row: 1 / 0)
    monkeypatch.setattr(proofs, "PROOFS", proofs.Queue("proofs", attempts=1, visibility=890, batch=1))

    with pytest.raises(Problem, match="failed: see its worker's log"):
        proven()


def test_the_command_says_what_is_missing(monkeypatch, capsys):
    def not_up(cls: type[prove.Counter]) -> prove.Counter:
        raise Problem("not up")

    monkeypatch.setattr(prove.Counter, "read", classmethod(not_up))

    assert prove.main() == 1
    assert capsys.readouterr().err == "not up\n"
