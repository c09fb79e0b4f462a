"""Pictures that anybody uploads and anybody sees."""

import base64
import io
import json
import re
import struct
import zlib
from datetime import timedelta

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from functions.membership.show_item import show_item
from functions.membership.upload_image import upload_image
from kernel import clock
from kernel.operations import event_of
from membership import pictures
from tests.conftest import NOW

TIME = 1706424089006
BOUNDARY = "----boundary7MA4YWxk"
PATH = re.compile(r"/item/240128/[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\.(jpg|png)")
KEPT = "public, max-age=31536000, immutable"


def picture(kind="JPEG", size=(40, 30), **how):
    return saved(Image.new(how.pop("mode", "RGB"), size), kind, **how)


def saved(image, kind="JPEG", **how):
    target = io.BytesIO()
    image.save(target, kind, **how)
    return target.getvalue()


def opened(data):
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


JPEG, PNG = picture(), picture("PNG")


def part(name, content, file=None):
    named = f'; filename="{file}"' if file else ""
    kind = "Content-Type: image/jpeg\r\n" if file else ""
    data = content if isinstance(content, bytes) else content.encode()
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n{kind}\r\n'
    return head.encode() + data + b"\r\n"


def form(*parts):
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def sent(body, content_type=f"multipart/form-data; boundary={BOUNDARY}", address="127.0.0.1"):
    """Return status and body of an upload as the gateway hands it on: in base64."""
    event = event_of(upload_image, "")
    event |= {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
    event["headers"]["Content-Type"] = content_type
    event["requestContext"]["identity"]["sourceIp"] = address
    answer = upload_image(event, None)
    return answer["statusCode"], json.loads(answer["body"])


def uploaded(data, file="proof.jpg", module="1"):
    return sent(form(part("module", module), part("file", data, file)))


def refused(msg, code=1):
    return 200, {"errCode": code, "result": 1, "msg": msg, "time": TIME}


def stored(cloud):
    return [found["Key"] for found in cloud.client("s3").list_objects_v2(Bucket="files").get("Contents", [])]


def shown(cloud, path):
    date, file = path.removeprefix("/item/").split("/")
    return cloud.call(show_item, caller="", path={"date": date, "file": file})


@pytest.mark.parametrize(
    ("data", "suffix", "media_type"), [(JPEG, "jpg", "image/jpeg"), (PNG, "png", "image/png")], ids=["JPEG", "PNG"]
)
def test_a_picture_is_stored_and_shown(cloud, data, suffix, media_type):
    status, body = uploaded(data, file="no matter.gif")

    path = body["data"]
    assert (status, body) == (200, {"errCode": 0, "result": 0, "msg": "成功", "data": path, "time": TIME})
    assert PATH.fullmatch(path)[1] == suffix
    assert stored(cloud) == [f"item/membership/{path.removeprefix('/item/')}"]
    answer = shown(cloud, path)
    assert (answer.status, answer.content_type) == (200, media_type)
    image = opened(answer.body)
    assert (image.format, image.size, image.getcolors()) == (opened(data).format, (40, 30), [(1200, (0, 0, 0))])
    assert answer.more == {"Cache-Control": KEPT, "X-Content-Type-Options": "nosniff"}


def test_the_date_is_shanghais(cloud):
    with clock.frozen(NOW.replace(hour=16)):
        assert uploaded(JPEG)[1]["data"].startswith("/item/240129/")


def test_the_part_named_file_wins_else_the_first_file_is_taken(cloud):
    both = form(part("module", "1"), part("other", PNG, "a.png"), part("file", JPEG, "b.jpg"))
    first = form(part("other", PNG, "a.png"), part("more", JPEG, "b.jpg"), part("module", "1"))
    no_file = form(part("file", "text"), part("other", PNG, "a.png"), part("module", "1"))

    assert [sent(body)[1]["data"][-3:] for body in (both, first, no_file)] == ["jpg", "png", "png"]


def test_the_module_may_stand_in_the_query(cloud):
    event = event_of(upload_image, "")
    event |= {"body": base64.b64encode(form(part("file", JPEG, "a.jpg"))).decode(), "isBase64Encoded": True}
    event["headers"]["Content-Type"] = f"multipart/form-data; boundary={BOUNDARY}"
    event["queryStringParameters"] = {"module": "1"}

    assert json.loads(upload_image(event, None)["body"])["errCode"] == 0


def test_what_is_missing(cloud):
    assert sent(form(part("file", JPEG, "a.jpg"))) == refused("缺少参数：module", 4)
    assert sent(form(part("module", "1"))) == refused("缺少参数：file", 4)
    assert sent(form(part("module", "1"), part("file", "text"))) == refused("缺少参数：file", 4)
    assert sent(b'{"module":1,"file":["file","a.jpg","x"]}', "application/json") == refused("缺少参数：file", 4)
    assert sent(b"", "application/json")[1]["errCode"] == 4
    assert stored(cloud) == []


def test_another_module(cloud):
    assert uploaded(JPEG, module="2") == refused("未知的模块")
    assert uploaded(JPEG, module="one")[1]["errCode"] == 1
    assert stored(cloud) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no form",
        b"--" + BOUNDARY.encode() + b"\r\nContent-Disposition: form-data\r\n\r\nx\r\n",
        form(part("module", "1"), part("file", JPEG, "a.jpg"))[:-40],
    ],
    ids=["empty", "no form", "nameless", "cut off"],
)
def test_a_form_that_is_none(cloud, body):
    status, answer = sent(body)

    assert (status, answer["errCode"]) in ((400, 400), (200, 4), (200, 1))
    assert stored(cloud) == []


def test_a_form_without_boundary(cloud):
    status, answer = sent(form(part("module", "1")), "multipart/form-data")

    assert (status, answer["errCode"]) == (400, 400)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(side):
    """A PNG of so many pixels a side that is a few bytes long."""
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


NO_PICTURE, BROKEN, PIXELS = "只能上传JPEG或PNG图片", "图片已损坏", "图片的像素太多"
BAD = {
    "empty": (b"", NO_PICTURE),
    "text": (b"<script>alert(1)</script>", NO_PICTURE),
    "GIF": (picture("GIF"), NO_PICTURE),
    "WEBP": (picture("WEBP"), NO_PICTURE),
    "a beginning alone": (JPEG[:3], BROKEN),
    "a page behind a beginning": (b"\x89PNG\r\n\x1a\n<html>", BROKEN),
    "half a JPEG": (picture(size=(400, 400), quality=95)[:2000], BROKEN),
    "half a PNG": (PNG[:-30], BROKEN),
    "a flipped bit": (PNG[:45] + bytes([PNG[45] ^ 1]) + PNG[46:], BROKEN),
    "51 million pixels": (bomb(7150), PIXELS),
    "100 million pixels": (bomb(10_000), PIXELS),
    "400 million pixels": (bomb(20_000), PIXELS),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_picture(cloud, name):
    data, msg = BAD[name]

    assert uploaded(data) == refused(msg)
    assert stored(cloud) == []


WHERE = "Kunming, 25.0389 N"
EXIF = Image.Exif()
EXIF[0x010E] = WHERE
EXIF.get_ifd(0x8825)[29] = WHERE
NOTES = PngInfo()
NOTES.add_text("Comment", WHERE)
NOTES.add_itxt("XML:com.adobe.xmp", WHERE, zip=False)
SECRETS = {
    "JPEG": {"exif": EXIF, "comment": WHERE, "icc_profile": WHERE.encode(), "xmp": WHERE.encode()},
    "PNG": {"exif": EXIF, "pnginfo": NOTES, "icc_profile": WHERE.encode()},
    "MPO": {"exif": EXIF, "save_all": True, "append_images": [Image.new("RGB", (40, 30), "red")]},
}


@pytest.mark.parametrize("kind", SECRETS)
def test_nothing_but_the_picture_is_kept(cloud, kind):
    data = picture(kind, **SECRETS[kind]) + WHERE.encode()
    assert data.count(WHERE.encode()) >= 3

    kept = shown(cloud, uploaded(data)[1]["data"]).body

    assert WHERE.encode() not in kept
    image = opened(kept)
    assert (image.getexif(), getattr(image, "n_frames", 1)) == ({}, 1)
    assert image.info.keys() <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    # Nothing stands behind the end.
    assert kept.endswith(b"\xff\xd9" if kind != "PNG" else chunk(b"IEND", b""))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_picture_is_turned_upright(cloud, kind):
    halves = Image.new("RGB", (64, 32), "red")
    halves.paste((0, 0, 255), (0, 0, 32, 32))
    turned = Image.Exif()
    turned[0x0112] = 6

    image = opened(shown(cloud, uploaded(saved(halves, kind, exif=turned))[1]["data"]).body)

    assert image.size == (32, 64)
    (above, below) = (image.convert("RGB").getpixel((16, y)) for y in (8, 56))
    assert (above[2], below[0]) == (pytest.approx(255, abs=3), pytest.approx(255, abs=3))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_png_keeps_its_points_and_what_shines_through(cloud, mode):
    image = Image.new(mode, (8, 4))
    how = {"transparency": 0} if mode == "P" else {}

    kept = opened(shown(cloud, uploaded(saved(image, "PNG", **how))[1]["data"]).body)

    assert (kept.mode, kept.tobytes()) == (mode, image.tobytes())
    assert kept.info.get("transparency") == how.get("transparency")


@pytest.mark.parametrize(("mode", "kept"), [("L", "L"), ("CMYK", "RGB"), ("YCbCr", "RGB")])
def test_a_jpeg_is_shown_in_colours_that_browsers_know(cloud, mode, kept):
    assert opened(shown(cloud, uploaded(picture(mode=mode))[1]["data"]).body).mode == kept


def noise(width, height, quality):
    return saved(Image.effect_noise((width, height), 90), quality=quality)


def test_the_largest_picture_passes_and_fits_into_an_answer(cloud):
    # Its quality is less than that of the first try, which makes it too large.
    whole = noise(2900, 2500, 72)
    whole += b"\0" * (pictures.LARGEST - len(whole))

    status, body = uploaded(whole)

    assert (status, body["errCode"]) == (200, 0)
    kept = shown(cloud, body["data"])
    assert (kept.status, opened(kept.body).size) == (200, (2900, 2500))
    assert 4_000_000 < len(kept.body) < 4_600_000
    # Lambda's own limit of a request, as the gateway sends it.
    assert len(base64.b64encode(form(part("module", "1"), part("file", whole, "a.jpg")))) < 6 * 1024 * 1024 - 100_000


def test_what_cannot_be_drawn_small_enough(cloud):
    assert uploaded(noise(5600, 5000, 3)) == refused("图片不能超过4.4MB")
    assert stored(cloud) == []


def test_larger_pictures(cloud):
    assert uploaded(JPEG + b"\0" * pictures.LARGEST) == refused("图片不能超过4.4MB")
    assert uploaded(JPEG + b"\0" * pictures.REQUEST_LIMIT) == refused("请求内容过大")
    assert stored(cloud) == []


def test_sixty_in_ten_minutes_from_one_address(cloud):
    body = form(part("module", "1"), part("file", b"x", "a.jpg"))
    for _ in range(60):
        assert sent(body) == refused(NO_PICTURE)

    assert sent(body) == refused("上传太频繁，请稍后再试")
    assert sent(body, address="203.0.113.1") == refused(NO_PICTURE)
    with clock.frozen(NOW + timedelta(minutes=10)):
        assert uploaded(JPEG)[1]["errCode"] == 0


def test_three_hundred_a_day_from_one_address(cloud):
    body = form(part("module", "1"), part("file", b"x", "a.jpg"))
    for number in range(300):
        with clock.frozen(NOW + timedelta(minutes=10 * (number // 60))):
            assert sent(body) == (200, {**refused(NO_PICTURE)[1], "time": sent_at(number // 60)})

    with clock.frozen(NOW + timedelta(hours=23)):
        assert sent(body)[1]["msg"] == "上传太频繁，请稍后再试"
        assert sent(body, address="203.0.113.1")[1]["msg"] == NO_PICTURE
    with clock.frozen(NOW + timedelta(days=1)):
        assert uploaded(JPEG)[1]["errCode"] == 0


def sent_at(tens):
    return TIME + tens * 600_000


UUID = "bb4d7cbb-7658-4088-87dd-ac0add78af63"


@pytest.mark.parametrize(
    "path",
    [f"190411/{UUID}.jpg", f"19041/{UUID}.jpg", f"190411/{UUID}.gif", f"190411/{UUID}", "190411/..", "../x.jpg"],
)
def test_what_is_not_there(cloud, path):
    answer = shown(cloud, f"/item/{path}")

    assert answer == (
        404,
        {"errCode": 404, "result": 1, "msg": "图片不存在", "time": TIME},
        "application/json; charset=utf-8",
    )
    assert answer.more == {}
