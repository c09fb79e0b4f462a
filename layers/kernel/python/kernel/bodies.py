"""What a request brings: JSON, forms of both kinds, and what stands in the query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl

from pydantic_core import from_json

from kernel.errors import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kernel.auth import Incoming

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"


class FilePart(NamedTuple):
    """A file in a multipart form: the name of its field, its own name, its bytes."""

    field: str
    name: str
    data: bytes


def is_form(incoming: Incoming) -> bool:
    """Tell whether the body is a plain form."""
    # curl calls everything a form that it is not told about; no form starts with a brace.
    return _media_type(incoming) == FORM and not incoming.body.lstrip().startswith(b"{")


def spread_fields(incoming: Incoming, names: Iterable[str]) -> dict[str, Any]:
    """Return the parameters of a request wherever they stand, the body's before the query's.

    Of the query only `names` are looked for, because its names have lost their capitals. Raises `Unreadable`.
    """
    found: dict[str, Any] = {name: incoming.query[name.lower()] for name in names if name.lower() in incoming.query}
    try:
        return found | _body_fields(incoming)
    except UnicodeDecodeError:
        raise Unreadable("The body is not UTF-8 text") from None
    except ValueError:
        raise Unreadable("The body is not what its Content-Type says, or no JSON object") from None


def _body_fields(incoming: Incoming) -> dict[str, Any]:
    if not incoming.body.strip():
        return {}
    if _media_type(incoming) == MULTIPART:
        return _parts(incoming)
    if is_form(incoming):
        return dict(parse_qsl(incoming.body.decode(), keep_blank_values=True, errors="strict"))
    fields = from_json(incoming.body, allow_inf_nan=False)
    if not isinstance(fields, dict):
        raise ValueError
    return fields


def _parts(incoming: Incoming) -> dict[str, Any]:
    """Return the fields and files of a multipart form (RFC 7578)."""
    # Only uploads need it.
    from python_multipart.multipart import FormParser, parse_options_header

    found: dict[str, Any] = {}

    def keep_field(field: Any) -> None:
        found[(field.field_name or b"").decode()] = (field.value or b"").decode()

    def keep_file(file: Any) -> None:
        file.file_object.seek(0)
        name, own = (file.field_name or b"").decode(), (file.file_name or b"").decode(errors="replace")
        found[name] = FilePart(name, own, file.file_object.read())

    _, options = parse_options_header(incoming.headers["content-type"])
    boundary = options.get(b"boundary")
    if not boundary:
        raise ValueError
    ended: list[bool] = []
    parser = FormParser(
        MULTIPART,
        keep_field,
        keep_file,
        lambda: ended.append(True),
        boundary=boundary,
        # The body is in memory already, so parts of it need no file.
        config={"MAX_MEMORY_FILE_SIZE": len(incoming.body) + 1},
    )
    parser.write(incoming.body)
    parser.finalize()
    if not ended:
        # What was cut off looks like a form that lacks a part.
        raise ValueError
    return found


def _media_type(incoming: Incoming) -> str:
    return incoming.headers.get("content-type", "").partition(";")[0].strip().lower()
