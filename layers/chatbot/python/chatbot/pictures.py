"""Pictures: read from requests, made into the widths that LINE asks for in rich messages, stored and served."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import re
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple
from urllib.parse import quote, unquote

from pydantic import Field, StringConstraints

from chatbot.api import AccountRequest, View
from kernel import audit, files, ids
from kernel.envelopes import Response, json_text
from kernel.errors import Flaw, Invalid
from kernel.files import Folder
from kernel.operations import ANSWER_LIMIT, answer_size
from kernel.settings import settings
from kernel.tables import commit

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGES = Folder("images")
# LINE fetches baseUrl/1040, /700, /460, /300 and /240 (Messaging API reference, Imagemap message).
WIDTHS = (1040, 700, 460, 300, 240)
FOREVER = "public, max-age=31536000, immutable"
# What a picture may unpack to: four bytes a pixel have to fit into the function's memory several times.
_PIXELS_LIMIT = 25_000_000
_TOO_MANY_PIXELS = f"must have at most {_PIXELS_LIMIT} pixels"
# As high as a phone scrolls through; a line of one pixel would become a picture of millions.
_HEIGHT_LIMIT = 5
# Phones write JPEG with a second picture behind the first, which Pillow calls MPO.
_FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "MPO": "image/jpeg"}
_DATA_URL = re.compile(r"data:[^,]{0,100};base64,", re.IGNORECASE)
_SEGMENT = re.compile(r"(?!\.+$)[0-9A-Za-z_.~%-]{1,400}", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


class Picture(NamedTuple):
    """A picture as it came, with its real type and size in pixels."""

    data: bytes
    content_type: str
    width: int
    height: int


class ImageMap(AccountRequest):
    """A picture for a rich message, as base64 or as a data: URL."""

    category: Literal["ImageMap"]
    img: Annotated[str, StringConstraints(min_length=1)] = Field(repr=False)


class LinkView(View):
    """Where a picture is."""

    link: str


def read(text: str) -> Picture:
    """Return the PNG or JPEG that base64 (bare or in a data: URL) holds, looking at its head only.

    Raises ValueError, saying what is wrong with it.
    """
    try:
        data = base64.b64decode("".join(_DATA_URL.sub("", text.strip(), count=1).split()), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is not valid base64") from None
    with _opened(data) as image:
        picture = Picture(data, _FORMATS[image.format or ""], *image.size)
    if picture.width * picture.height > _PIXELS_LIMIT:
        raise ValueError(_TOO_MANY_PIXELS)
    return picture


def _opened(data: bytes) -> Image:
    # Here and below: Pillow takes long to load, and few functions need it.
    from PIL import Image

    try:
        # Only these: Pillow knows dozens of formats, which are dozens of ways in.
        return Image.open(io.BytesIO(data), formats=tuple(_FORMATS))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ValueError(_TOO_MANY_PIXELS) from None
    except MemoryError:
        raise
    except Exception:  # Pillow keeps no list of what broken pictures raise
        raise ValueError("is not a PNG or JPEG picture") from None


def save(request: ImageMap) -> LinkView:
    """Store a picture in the five widths and return its link, to which LINE appends the width it wants."""
    try:
        picture = read(request.img)
        made = _scaled(picture)
    except ValueError as problem:
        raise Invalid([Flaw("img", str(problem))]) from None
    path = f"{request.category}/{_segment(request.admin_id)}/{request.account_id}/{ids.uuid1()}"
    for width, data in made.items():
        files.put(IMAGES, f"{path}/{width}", data, picture.content_type)
    commit(audit.entry(f"picture {path}", before=None, after=hashlib.sha256(picture.data).hexdigest()))
    return LinkView(link=f"{settings().public_url}/images/{path}")


def _scaled(picture: Picture) -> dict[int, bytes]:
    """Return the picture in each width, in its own format, upright, and without what it tells beside its pixels."""
    from PIL import Image, ImageOps

    made = {}
    with _opened(picture.data) as image:
        if picture.content_type == "image/jpeg":
            # Read at half the size or less when that is still large enough.
            image.draft("RGB", (2 * WIDTHS[0], 2 * WIDTHS[0]))
        try:
            upright = _plain(ImageOps.exif_transpose(image))
        except MemoryError:
            raise
        except Exception:  # as above
            raise ValueError("is a broken picture") from None
    if upright.height > _HEIGHT_LIMIT * upright.width:
        raise ValueError(f"must be at most {_HEIGHT_LIMIT} times as high as wide")
    for width in WIDTHS:
        height = max(1, round(upright.height * width / upright.width))
        target = io.BytesIO()
        scaled = upright.resize((width, height), Image.Resampling.LANCZOS)
        if picture.content_type == "image/jpeg":
            scaled.save(target, "JPEG", quality=85, optimize=True)
        else:
            scaled.save(target, "PNG")
        made[width] = target.getvalue()
        # LINE takes 10 MB, but what a function serves leaves it inside an answer.
        if answer_size(made[width]) > ANSWER_LIMIT:
            raise ValueError(f"is too large at a width of {width} pixels; as a JPEG it is smaller")
    return made


def _plain(image: Image) -> Image:
    """Return the pixels alone, in a mode that scales well: no palette, profile, comment or EXIF."""
    if image.mode.startswith("I"):
        # Sixteen bits of grey, which `convert` would cut off instead of scaling.
        image = image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    transparent = image.mode in ("LA", "PA", "RGBA", "RGBa", "La") or "transparency" in image.info
    plain = image.convert("RGBA" if transparent else "RGB")
    plain.info = {}
    return plain


def shown(category: str, admin_id: str, account_id: str, picture: str, width: str) -> Response:
    """Return a stored picture, which never changes, or a 404: LINE and browsers look at the status."""
    # Gateways differ in whether they decode a path; encoded once more it is the same either way, and holds no slash.
    owner = _segment(unquote(admin_id))
    plain = category == "ImageMap" and _SEGMENT.fullmatch(owner) and re.fullmatch(r"[0-9A-Za-z_-]{1,64}", account_id)
    if plain and _UUID.fullmatch(picture) and width in map(str, WIDTHS):
        found = files.get(IMAGES, f"{category}/{owner}/{account_id}/{picture}/{width}")
        if found is not None:
            return Response(200, found.data, found.content_type, {"Cache-Control": FOREVER})
    return Response(404, json_text({"ErrorCode": 404, "ErrorMessage": "picture not found", "Result": None}))


def _segment(admin_id: str) -> str:
    """Return an adminId, which may hold anything but '#', as one segment of a path."""
    return quote(admin_id, safe="")
