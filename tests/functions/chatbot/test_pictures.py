"""Pictures of rich messages: what is taken, what becomes of it, and how it is served."""

import base64
import hashlib
import io
import random
import re
from urllib.parse import quote

import pytest
from PIL import Image, PngImagePlugin

from chatbot import pictures
from functions.chatbot.img_mapfile import img_mapfile
from functions.chatbot.show_picture import show_picture
from functions.chatbot.show_whole_picture import show_whole_picture
from kernel import files
from kernel.audit import digest
from tests.functions.chatbot.conftest import made
from tests.functions.chatbot.examples import IDS, NOW, audited, documented, sample

LINK = re.compile(
    r"https://chat\.example\.com/images/ImageMap/0001/n4ud3h8n6-a9oa-l6f2-ct2i-555d20fb04c436/"
    r"([0-9a-f]{8}-[0-9a-f]{4}-1[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12})"
)
PLACE = {"category": "ImageMap", "admin_id": IDS["adminId"], "account_id": IDS["accountId"]}
SOME = "2355a568-bdcb-11ee-974a-e6b170f2ffcd"
NOT_FOUND = (404, {"ErrorCode": 404, "ErrorMessage": "picture not found", "Result": None})


def picture(form="PNG", size=(520, 260), mode="RGB", color=0, **how):
    data = io.BytesIO()
    Image.new(mode, size, color).save(data, form, **how)
    return data.getvalue()


def text(data):
    return base64.b64encode(data).decode()


def saved(cloud, data):
    """Save a picture and return its id."""
    answer = cloud.call(img_mapfile, {**IDS, "category": "ImageMap", "img": text(data)})
    assert answer.status == 200, answer.body
    assert list(answer.body["Result"]) == ["link"]
    return LINK.fullmatch(answer.body["Result"]["link"])[1]


def served(cloud, name, width="1040"):
    return cloud.call(show_picture, path={**PLACE, "picture": name, "width": width})


def opened(answer):
    assert (answer.status, answer.more) == (200, {"Cache-Control": "public, max-age=31536000, immutable"})
    return Image.open(io.BytesIO(answer.body))


def test_the_documented_request_is_answered_with_a_link_under_which_line_finds_five_widths(cloud, account):
    name = LINK.fullmatch(cloud.call(img_mapfile, documented("img_mapfile")).body["Result"]["link"])[1]

    for width in (1040, 700, 460, 300, 240):
        answer = served(cloud, name, str(width))
        assert answer.content_type == "image/png"
        assert opened(answer).size == (width, width)
    whole = cloud.call(show_whole_picture, path={**PLACE, "picture": name})
    assert whole == served(cloud, name)


def test_the_samples_of_the_links_are_answered(cloud, account):
    path = "/".join((*PLACE.values(), SOME))
    files.put(pictures.IMAGES, f"{path}/1040", b"data", "image/png")

    for name in (show_picture, show_whole_picture):
        assert name(sample(name.name), None) == {
            "statusCode": 200,
            "headers": {"Content-Type": "image/png", "Cache-Control": "public, max-age=31536000, immutable"},
            "body": text(b"data"),
            "isBase64Encoded": True,
        }


def test_a_save_is_audited_without_the_picture(cloud, account):
    data = picture()
    name = saved(cloud, data)

    subject = f"picture ImageMap/{IDS['adminId']}/{IDS['accountId']}/{name}"
    assert audited(cloud, subject) == [
        {
            "tenant": IDS["adminId"],
            "actor": IDS["adminId"],
            "operation": "img_mapfile",
            "subject": subject,
            "after": digest(hashlib.sha256(data).hexdigest()),
            "created_at": NOW.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
    ]


@pytest.mark.parametrize(
    ("form", "mode", "type_", "kept"),
    [
        ("PNG", "RGB", "image/png", "RGB"),
        ("PNG", "RGBA", "image/png", "RGBA"),
        ("PNG", "LA", "image/png", "RGBA"),
        ("PNG", "P", "image/png", "RGB"),
        ("PNG", "1", "image/png", "RGB"),
        ("PNG", "L", "image/png", "RGB"),
        ("JPEG", "RGB", "image/jpeg", "RGB"),
        ("JPEG", "L", "image/jpeg", "RGB"),
        ("JPEG", "CMYK", "image/jpeg", "RGB"),
    ],
)
def test_every_kind_of_picture_stays_what_it_is(cloud, account, form, mode, type_, kept):
    answer = served(cloud, saved(cloud, picture(form, mode=mode)), "460")

    assert answer.content_type == type_
    image = opened(answer)
    assert (image.format, image.size, image.mode) == (form, (460, 230), kept)


def test_grey_of_sixteen_bits_keeps_its_shade(cloud, account):
    image = opened(served(cloud, saved(cloud, picture(mode="I;16", color=0x8000))))

    assert image.getpixel((520, 260)) == (128, 128, 128)


def test_what_is_seen_through_stays_so(cloud, account):
    image = opened(served(cloud, saved(cloud, picture(mode="RGBA", color=(10, 20, 30, 40)))))

    assert image.getpixel((520, 260))[3] == 40


def test_a_photo_is_turned_upright_and_tells_nothing_about_itself(cloud, account):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    exif[0x010F] = "maker"
    photo = Image.new("RGB", (800, 400), "red")
    photo.paste("blue", (0, 0, 400, 400))
    data = io.BytesIO()
    photo.save(data, "JPEG", exif=exif, comment=b"where I live")

    image = opened(served(cloud, saved(cloud, data.getvalue()), "300"))

    assert image.size == (300, 600)
    assert image.getpixel((150, 50))[2] > 200
    assert image.getpixel((150, 550))[0] > 200
    assert not image.getexif()
    assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


def test_what_a_png_tells_about_itself_is_left_out(cloud, account):
    words = PngImagePlugin.PngInfo()
    words.add_text("Author", "me")

    assert opened(served(cloud, saved(cloud, picture(pnginfo=words)))).info == {}


def test_base64_is_taken_bare_in_lines_and_in_a_data_url(cloud, account):
    data = picture()

    for img in (text(data), f"data:image/png;base64,{text(data)}", base64.encodebytes(data).decode()):
        answer = cloud.call(img_mapfile, {**IDS, "category": "ImageMap", "img": img})
        assert answer.status == 200, answer.body


def test_a_line_keeps_a_height(cloud, account):
    assert opened(served(cloud, saved(cloud, picture(size=(5000, 1))), "240")).size == (240, 1)


def test_refuses_what_is_no_picture_for_line(cloud, account, foreign, refuses):
    cases = [
        ({"img": "not base64!"}, "img is not valid base64"),
        ({"img": "data:image/png,plain"}, "img is not valid base64"),
        ({"img": text(b"fake-image")}, "img is not a PNG or JPEG picture"),
        ({"img": text(picture("GIF"))}, "img is not a PNG or JPEG picture"),
        ({"img": text(picture("BMP"))}, "img is not a PNG or JPEG picture"),
        ({"img": text(picture()[:60])}, "img is a broken picture"),
        ({"img": text(picture(size=(5001, 5000), mode="1"))}, "img must have at most 25000000 pixels"),
        ({"img": text(picture(size=(20000, 20000), mode="1"))}, "img must have at most 25000000 pixels"),
        ({"img": text(picture(size=(10, 51)))}, "img must be at most 5 times as high as wide"),
        ({"img": ""}, "img must have at least 1 character"),
        ({"img": ...}, "img is required"),
        ({"category": "Other"}, "category must be 'ImageMap'"),
        ({"category": ..., "img": 1}, "category is required; img must be a valid string"),
        ({"accountId": "unknown"}, "accountId not found"),
        ({"accountId": foreign.ids["accountId"]}, "accountId not found"),
    ]
    refuses(img_mapfile, [(documented("img_mapfile", **change), message) for change, message in cases])
    assert "Contents" not in cloud.client("s3").list_objects_v2(Bucket="files")


def noise(width, height):
    data = io.BytesIO()
    Image.frombytes("RGB", (width, height), random.Random(1).randbytes(width * height * 3)).save(data, "PNG")
    return data.getvalue()


def test_refuses_what_is_too_large_to_come_in_or_to_be_served(cloud, account, refuses):
    cases = [
        (noise(1040, 1100), "The body is larger than 4500000 bytes"),
        (noise(520, 1300), "img is too large at a width of 1040 pixels; as a JPEG it is smaller"),
    ]
    refuses(img_mapfile, [(documented("img_mapfile", img=text(data)), message) for data, message in cases])


@pytest.mark.parametrize(
    "change",
    [
        {"width": "1041"},
        {"width": "240/"},
        {"width": "240\n"},
        {"width": ""},
        {"category": "Other"},
        {"category": ".."},
        {"admin_id": ".."},
        {"admin_id": "."},
        {"admin_id": "0002"},
        {"admin_id": "..%2F..%2Fimages"},
        {"admin_id": ""},
        {"account_id": "../x"},
        {"account_id": "other"},
        {"picture": "../" + SOME},
        {"picture": SOME.upper()},
        {"picture": "0" * 36},
    ],
)
def test_everything_else_is_not_found(cloud, account, change):
    name = saved(cloud, picture())

    assert cloud.call(show_picture, path={**PLACE, "picture": name, "width": "240", **change})[:2] == NOT_FOUND
    if "width" not in change:
        assert cloud.call(show_whole_picture, path={**PLACE, "picture": name, **change})[:2] == NOT_FOUND


@pytest.mark.parametrize("admin_id", ["me@example.com", "a b", "a/b", "..a", "操作員"])
@pytest.mark.parametrize("decoded", [True, False])
def test_the_link_of_any_operator_leads_to_his_picture(cloud, admin_id, decoded):
    encoded = quote(admin_id, safe="")
    webhook = f"https://chat.example.com/api/LineMessage/send?adminid={encoded}&accountid=channel"
    ids = made(cloud, {"adminId": admin_id, "accountId": "channel"}, accountWebhookUrl=webhook).ids
    answer = cloud.call(img_mapfile, {**ids, "category": "ImageMap", "img": text(picture())}, caller=admin_id)

    *_, category, owner, account_id, name = answer.body["Result"]["link"].split("/")
    assert owner == encoded
    parts = {"category": category, "admin_id": admin_id if decoded else owner, "account_id": account_id}
    assert cloud.call(show_whole_picture, path={**parts, "picture": name}).status == 200
