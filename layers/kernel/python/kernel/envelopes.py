"""How an answer looks on the outside; each system owns one envelope."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from pydantic_core import to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kernel.errors import Fault


class Response(NamedTuple):
    """An answer as HTTP sends it; `headers` replace the usual ones, such as Cache-Control."""

    status: int
    body: str | bytes
    content_type: str = "application/json; charset=utf-8"
    headers: Mapping[str, str] = MappingProxyType({})


class Envelope(Protocol):
    """Renders results and faults of one system; the gateway's own answers come from here too."""

    def success(self, result: Any) -> Response:
        """Wrap what an operation returned."""

    def fault(self, fault: Fault) -> Response:
        """Wrap a fault."""

    def success_schema(self, result: dict[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
        """Return the JSON schema of a success around the schema of its result, which refers to `definitions`."""

    def fault_schema(self) -> dict[str, Any]:
        """Return the JSON schema of a fault."""


def json_text(value: Any) -> str:
    """Return JSON text of plain values and pydantic models, Chinese unescaped."""
    return to_json(value, by_alias=True).decode()
