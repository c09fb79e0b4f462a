"""Pictures that managers upload as proof: drawn anew, stored under a name of their own, served to everybody.

Nothing of the file but its picture is kept: phones write into it where and when it was taken, and anything may stand
behind its end.
"""

from __future__ import annotations

import io
import re
import uuid
from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field, InstanceOf, WithJsonSchema, model_validator

from kernel import clock, files, rates
from kernel.bodies import FilePart
from kernel.envelopes import Response
from kernel.errors import NotFound
from kernel.files import Folder
from membership.api import SHANGHAI, Body, Done, Whole
from membership.faults import Refused, throttled

ITEMS = Folder("item")
MODULE = 1
# The contract's 5 MiB cannot arrive: Lambda takes requests of 6 MB, and a picture in one is a third larger (base64).
LARGEST = 4_400_000
# The picture and what a form puts around it.
REQUEST_LIMIT = LARGEST + 64 * 1024
# A phone's largest photographs; unpacked they take four bytes a pixel.
_PIXELS_LIMIT = 50_000_000
UPLOADS = 60
_WINDOW = timedelta(minutes=10)
A_DAY = 300
_FOREVER = "public, max-age=31536000, immutable"
_TYPES = {"jpg": "image/jpeg", "png": "image/png"}
_BEGINNINGS = {b"\xff\xd8\xff": "jpg", b"\x89PNG\r\n\x1a\n": "png"}
# Phones write JPEG with a second picture behind the first, which Pillow calls MPO.
_FORMATS = {"jpg": ("JPEG", "MPO"), "png": ("PNG",)}
# The first that makes a file small enough is taken: a good picture may come with less than the first.
_QUALITIES = (90, 75, 50)
# What fits into an answer of Lambda, in base64.
_LARGEST_DRAWN = 4_600_000
_TOO_MUCH, _TOO_MANY_PIXELS = "图片不能超过4.4MB", "图片的像素太多"
_DATE = re.compile(r"[0-9]{6}", re.ASCII)
_FILE = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.(jpg|png)", re.ASCII)


class UploadImage(Body):
    """A picture as a part of a multipart form: the one named `file`, else the first file."""

    module: Annotated[Whole, Field(description="Always 1")]
    file: Annotated[InstanceOf[FilePart], WithJsonSchema({"type": "string", "format": "binary"})]

    @model_validator(mode="before")
    @classmethod
    def _first_file(cls, given: Any) -> Any:
        if not isinstance(given, dict) or isinstance(given.get("file"), FilePart):
            return given
        # A field named file that is no file is none.
        other = next((value for value in given.values() if isinstance(value, FilePart)), None)
        return {**given, "file": other}


def save(request: UploadImage, address: str) -> Done:
    """Store a picture and return its path, `/item/190411/<uuid>.jpg`; raises Refused for what is none."""
    with throttled("上传太频繁，请稍后再试"):
        rates.count("upload", address, limit=UPLOADS, window=_WINDOW)
        rates.count("upload-day", address, limit=A_DAY, window=timedelta(days=1))
    if request.module != MODULE:
        raise Refused("未知的模块")
    kind = _kind(request.file.data)
    drawn = _drawn(request.file.data, kind)
    path = f"{clock.now().astimezone(SHANGHAI):%y%m%d}/{uuid.uuid4()}.{kind}"
    files.put(ITEMS, path, drawn, _TYPES[kind])
    return Done("成功", f"/item/{path}")


def shown(date: str, file: str) -> Response:
    """Return a stored picture, which never changes; raises NotFound."""
    named = _FILE.fullmatch(file)
    found = files.get(ITEMS, f"{date}/{file}") if named and _DATE.fullmatch(date) else None
    if named is None or found is None:
        raise NotFound("图片不存在")
    # Nobody signs in to upload, so browsers must not take what is stored for anything but a picture.
    headers = {"Cache-Control": _FOREVER, "X-Content-Type-Options": "nosniff"}
    return Response(200, found.data, _TYPES[named[1]], headers)


def _kind(data: bytes) -> str:
    """Return the kind of picture that a file says it is; raises Refused."""
    if len(data) > LARGEST:
        raise Refused(_TOO_MUCH)
    kind = next((kind for beginning, kind in _BEGINNINGS.items() if data.startswith(beginning)), None)
    if kind is None:
        raise Refused("只能上传JPEG或PNG图片")
    return kind


def _drawn(data: bytes, kind: str) -> bytes:
    """Return a file of the picture alone, turned as its file said; raises Refused for what cannot be shown."""
    # Pillow takes long to load, and only this needs it.
    from PIL import Image, ImageOps

    made = io.BytesIO()
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS[kind]) as image:
            if image.width * image.height > _PIXELS_LIMIT:
                raise Refused(_TOO_MANY_PIXELS)
            # Whatever else it knows of itself would be written again.
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            image.info = {name: value for name, value in image.info.items() if name == "transparency"}
            if kind == "jpg":
                shown = image if image.mode in ("L", "RGB") else image.convert("RGB")
                for quality in _QUALITIES:
                    made = io.BytesIO()
                    shown.save(made, "JPEG", quality=quality)
                    if made.tell() <= _LARGEST_DRAWN:
                        break
            else:
                image.save(made, "PNG")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Refused(_TOO_MANY_PIXELS) from None
    except (MemoryError, Refused):
        raise
    except Exception:  # Pillow keeps no list of what broken pictures raise
        raise Refused("图片已损坏") from None
    if made.tell() > _LARGEST_DRAWN:
        raise Refused(_TOO_MUCH)
    return made.getvalue()
