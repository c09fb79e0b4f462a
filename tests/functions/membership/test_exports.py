"""Exports: every list as a file that spreadsheets open, whatever people wrote and however often it is written."""

import csv
import io
import json
import urllib.request
import zipfile
from datetime import timedelta
from xml.etree import ElementTree

import pytest

from functions.membership.create_export import create_export
from functions.membership.get_export import get_export
from functions.membership.write_export import write_export
from infra.discovery import ROOT
from kernel import clock, files
from kernel.listings import listed
from kernel.tables import Put, commit, write_all
from membership import export_files, export_rows, exports
from membership.exports import EXPORTS, FILES
from membership.tables import ClosingTable, CustomerTable, ExportTable
from tests.conftest import NOW
from tests.shops import MERCHANT, OTHER_MERCHANT, PHONE, furnish, office, office_refused

HERE = {"merchant": "12"}
SAMPLE = "01hn7m8q5e0000000000000000"
CREATED = "2024-01-28T06:41:29.006+0000"
MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
ABOUT = {
    "membershipCardId": 3, "title": "外婆味道储值卡", "cardNo": 7924012814100, "userId": 7, "nickname": "=哈,哈",
    "phone": PHONE, "storeId": 3, "storeName": "外婆味道南屏店",
}  # fmt: skip
ABOUT_HEADINGS = "会员卡编号,会员卡,卡号,客户编号,昵称,手机号,门店编号,门店"
ABOUT_CELLS = '3,外婆味道储值卡,7924012814100,7,"\'=哈,哈",13800000007,3,外婆味道南屏店'
CONTENTS = {
    "recharges": {
        "memberEventId": 9, "eventName": "充200", "rechargeMoney": 20000, "sendMoney": 5, "type": 2,
        "explain": "余额充值", "orderNo": 71024012814100, "image": "/item/1.png",
    },
    "expenses": {"expenseMoney": 1050, "type": 2, "explain": "消费", "orderNo": 71124012814101},
    "refunds": {"money": 1050, "explain": "-退款"},
    "invoices": {"amount": 100, "summary": "", "image": "/item/2.png"},
}  # fmt: skip
FILES_OF = {
    "recharges": (
        f"编号,时间,订单号,{ABOUT_HEADINGS},充值金额,赠送金额,活动编号,活动,类型,说明,凭证\n"
        f"1,2024-01-28 14:41:29,71024012814100,{ABOUT_CELLS},200.00,0.05,9,充200,2,余额充值,/item/1.png\n"
    ),
    "expenses": (
        f"编号,时间,订单号,{ABOUT_HEADINGS},消费金额,类型,说明\n"
        f"1,2024-01-28 14:41:29,71124012814101,{ABOUT_CELLS},10.50,2,消费\n"
    ),
    "refunds": (
        f"编号,时间,{ABOUT_HEADINGS},退款金额,说明\n1,2024-01-28 14:41:29,{ABOUT_CELLS},10.50,'-退款\n"
    ),
    "invoices": (
        f"编号,时间,{ABOUT_HEADINGS},开票金额,备注,发票图片\n"
        f"1,2024-01-28 14:41:29,{ABOUT_CELLS},1.00,,/item/2.png\n"
    ),
}  # fmt: skip


@pytest.fixture
def shop(cloud):
    furnish()
    return cloud


def record(kind, number=1, at=NOW, store=3, merchant=MERCHANT, **more):
    content = {"id": number, **ABOUT, "storeId": store, **CONTENTS.get(kind, {}), **more}
    book = f"{kind}#store#{store}"
    return listed(book, number, at, content, wider=f"{kind}#merchant#{merchant}", phone=PHONE)


def create(cloud, kind="recharges", form="csv", **more):
    return office(cloud, create_export, {"list": kind, "format": form, **more}, path=HERE)["id"]


def shown(cloud, export):
    return office(cloud, get_export, path={**HERE, "export": export})


def fetched(cloud, export):
    """Return the bytes behind the link of an export that is ready."""
    link = shown(cloud, export)["link"]
    with urllib.request.urlopen(link) as reply:
        return reply.read()


def exported(cloud, kind="recharges", **more):
    export = create(cloud, kind, **more)
    assert cloud.work(write_export) == []
    return fetched(cloud, export).decode("utf-8-sig")


def numbers(text):
    return [int(row["编号"]) for row in csv.DictReader(io.StringIO(text, newline=""))]


@pytest.mark.parametrize("kind", FILES_OF)
def test_a_list_of_records(shop, kind):
    commit(record(kind))

    assert exported(shop, kind) == FILES_OF[kind]


def test_what_is_said_of_it(shop):
    commit(record("recharges"))
    said = office(shop, create_export, {"list": "recharges", "format": "csv"}, path=HERE)
    export = said["id"]
    about = {"id": export, "list": "recharges", "format": "csv", "reason": None, "created": CREATED}
    assert said == {"id": export, "state": "writing"}
    assert shown(shop, export) == {**about, "state": "writing", "rows": 0, "link": None}
    (entry,) = shop.rows("audit")
    assert (entry["tenant"], entry["actor"], entry["operation"], entry["subject"]) == (
        "12", "0001", "create_export", f"exports/{export}",
    )  # fmt: skip

    shop.work(write_export)

    ready = shown(shop, export)
    assert ready == {**about, "state": "ready", "rows": 1, "link": ready["link"]}
    path = f"12/{export}/recharges-20240128144129.csv"
    assert ready["link"].partition("?")[0].endswith(f"/exports/membership/{path}")
    assert "X-Amz-Expires=3600" in ready["link"]
    file = files.get(FILES, path)
    assert (file.data[:3], file.content_type) == (b"\xef\xbb\xbf", "text/csv; charset=utf-8")
    with clock.frozen(NOW + timedelta(days=7)):
        assert office_refused(shop, get_export, path={**HERE, "export": export}) == (404, 1, "导出记录不存在")


def test_xlsx_has_numbers_and_texts(shop):
    commit(record("recharges"))
    export = create(shop, form="xlsx")
    shop.work(write_export)

    with zipfile.ZipFile(io.BytesIO(fetched(shop, export))) as archive:
        sheet = ElementTree.fromstring(archive.read("xl/worksheets/sheet1.xml"))
    heading, row = sheet.iter(f"{MAIN}row")
    assert ["".join(one.itertext()) for one in heading] == FILES_OF["recharges"].partition("\n")[0].split(",")
    assert [(one.get("t"), "".join(one.itertext())) for one in row] == [
        (None, "1"), ("inlineStr", "2024-01-28 14:41:29"), (None, "71024012814100"), (None, "3"),
        ("inlineStr", "外婆味道储值卡"), (None, "7924012814100"), (None, "7"), ("inlineStr", "=哈,哈"),
        ("inlineStr", PHONE), (None, "3"), ("inlineStr", "外婆味道南屏店"), (None, "200"), (None, "0.05"),
        (None, "9"), ("inlineStr", "充200"), (None, "2"), ("inlineStr", "余额充值"), ("inlineStr", "/item/1.png"),
    ]  # fmt: skip
    assert not list(sheet.iter(f"{MAIN}f"))


def test_customers_have_the_names_of_today(shop):
    for number in range(1, 151):
        phone = f"138{number:08d}"
        commit(listed("customers#merchant#12", number, NOW, {"userId": number, "phone": phone}, phone=phone))
        if number != 2:
            commit(Put(CustomerTable(merchant_id=12, phone=phone, user_id=number, nickname=f"+{number}", avatar="/a")))

    lines = exported(shop, "customers").splitlines()

    assert lines[:3] == [
        "客户编号,首次开卡时间,手机号,昵称,头像",
        "1,2024-01-28 14:41:29,13800000001,'+1,/a",
        "2,2024-01-28 14:41:29,13800000002,,",
    ]
    assert (len(lines), lines[-1]) == (151, "150,2024-01-28 14:41:29,13800000150,'+150,/a")


class TestClosings:
    @pytest.fixture
    def closed(self, shop):
        figures = dict.fromkeys(export_rows.closings.FIGURES, 0) | {"recharged": 10000, "operations": 2}
        for store, day in ((3, "20240127"), (4, "20240127"), (None, "20240128"), (3, "20240126")):
            row = ClosingTable(
                book=f"12#{store or 0}", place=f"{day}#{store or 0}", merchant_id=12, store_id=store, store_name="店",
                manager_id=21, expected=10000, counted=9950, figures=figures, created_at=NOW,
            )  # fmt: skip
            if store is None:
                row.store_name = None
            commit(Put(row))
        return shop

    def test_of_all_stores(self, closed):
        money = "100.00,99.50,-0.50,100.00,0.00,0.00,0.00,0.00,0.00,0.00,0.00,0,0,0,2,2024-01-28 14:41:29"
        assert exported(closed, "closings").splitlines() == [
            "编号,日期,门店编号,门店,账号编号,应有现金,实点现金,差额,充值,赠送,消费,消费退款,充值退款,收回赠送,返现,开票,"
            "赠券,核销,收回券,笔数,交班时间",
            f"3,2024-01-26,3,店,21,{money}",
            f"3,2024-01-27,3,店,21,{money}",
            f"4,2024-01-27,4,店,21,{money}",
            f"0,2024-01-28,,,21,{money}",
        ]

    def test_of_a_store_and_some_days(self, closed):
        assert numbers(exported(closed, "closings", store=3, start="2024-01-27", end="2024-01-27")) == [3]
        assert numbers(exported(closed, "closings", start="2024-01-27", end="2024-01-28")) == [3, 4, 0]


class TestWhich:
    @pytest.fixture
    def listed(self, shop):
        furnish(OTHER_MERCHANT)
        times = [NOW - timedelta(days=2), NOW - timedelta(days=1), NOW - timedelta(hours=1), NOW + timedelta(minutes=5)]
        write_all(record("expenses", number, at) for number, at in enumerate(times, 1))
        commit(record("expenses", 5, NOW - timedelta(hours=2), store=4))
        commit(record("expenses", 6, store=1003, merchant=OTHER_MERCHANT))
        return shop

    def test_all_of_the_merchant_the_oldest_first(self, listed):
        assert numbers(exported(listed, "expenses")) == [1, 2, 5, 3]

    def test_of_a_store(self, listed):
        assert numbers(exported(listed, "expenses", store=4)) == [5]
        assert numbers(exported(listed, "expenses", store=5)) == []

    @pytest.mark.parametrize(
        ("period", "found"),
        [
            ({"start": "2024-01-27"}, [2, 5, 3]),
            ({"end": "2024-01-27"}, [1, 2]),
            ({"start": "2024-01-27", "end": "2024-01-27"}, [2]),
            ({"start": "2024-01-28 12:41:29.006", "end": "2024-01-28T05:41:29.005Z"}, [5]),
            ({"end": "2024-01-28T05:41:29.006Z"}, [1, 2, 5, 3]),
            ({"end": "2000-01-01"}, []),
            ({"end": "2030-01-01"}, [1, 2, 5, 3]),
        ],
    )
    def test_of_a_time(self, listed, period, found):
        assert numbers(exported(listed, "expenses", **period)) == found

    @pytest.mark.parametrize(
        ("fields", "refusal"),
        [
            ({"list": "managers"}, (400, 400)),
            ({"format": "xls"}, (400, 400)),
            ({"list": ""}, (400, 400)),
            ({"start": "yesterday"}, (400, 400)),
            ({"start": "2024-01-29"}, (400, 400)),
            ({"start": "2024-01-27", "end": "2024-01-26"}, (400, 400)),
            ({"list": "customers", "store": 3}, (400, 400)),
            ({"stores": 3}, (400, 400)),
            ({"store": 1003}, (404, 1)),
        ],
    )
    def test_what_is_refused(self, listed, fields, refusal):
        body = {"list": "expenses", "format": "csv", **fields}

        assert office_refused(listed, create_export, body, path=HERE)[:2] == refusal
        assert listed.queued(EXPORTS) == []

    def test_only_ones_own(self, listed):
        export = create(listed)
        assert office_refused(listed, get_export, path={**HERE, "export": export}, groups=["13"])[0] == 403
        elsewhere = {"merchant": "13", "export": export}
        assert office_refused(listed, get_export, path=elsewhere, groups=["13"]) == (404, 1, "导出记录不存在")
        body = {"list": "refunds", "format": "csv"}
        assert office_refused(listed, create_export, body, path=HERE, groups=["13"])[0] == 403
        assert office_refused(listed, get_export, path={**HERE, "export": "x"})[0] == 400


class TestWriting:
    def test_a_large_file_is_stored_part_by_part(self, shop, monkeypatch):
        monkeypatch.setattr(export_files, "NOTED_EVERY", 40)
        # Each row reads itself as 100 kB, so that few make the 5 MiB of a part.
        write_all(record("refunds", number, explain="测" * 33_000) for number in range(1, 131))
        with_parts = create(shop, "refunds")

        shop.work(write_export)

        text = fetched(shop, with_parts).decode("utf-8-sig")
        assert numbers(text) == list(range(1, 131))
        assert len(text.encode()) > 2 * files.PART_BYTES
        assert shown(shop, with_parts)["rows"] == 130

    def test_a_message_that_comes_again_changes_nothing(self, shop):
        commit(record("recharges"))
        create(shop)
        (message,) = shop.queued(EXPORTS)
        for _ in range(2):
            assert write_export({"Records": [message]}, None) == {"batchItemFailures": []}
            state = shop.everything()
        assert shop.everything() == state
        assert [row["state"] for row in shop.rows("exports")] == ["ready"]

    def test_a_file_that_is_written_again_takes_the_place_of_the_first(self, shop, monkeypatch):
        write_all(record("recharges", number) for number in range(1, 4))
        export = create(shop)
        (message,) = shop.queued(EXPORTS)
        noted = export_files._note
        monkeypatch.setattr(export_files, "_note", lambda *_: 1 / 0)
        assert write_export({"Records": [message]}, None)["batchItemFailures"] == [
            {"itemIdentifier": message["messageId"]}
        ]
        assert shown(shop, export)["state"] == "writing"

        monkeypatch.setattr(export_files, "_note", noted)
        assert write_export({"Records": [message]}, None) == {"batchItemFailures": []}

        assert numbers(fetched(shop, export).decode("utf-8-sig")) == [1, 2, 3]
        stored = shop.client("s3").list_objects_v2(Bucket="files", Prefix="exports/membership/")
        assert stored["KeyCount"] == 1

    def test_it_fails_in_the_end(self, shop, monkeypatch):
        write_all(record("refunds", number, explain="测" * 33_000) for number in range(1, 81))
        export = create(shop, "refunds")
        (message,) = shop.queued(EXPORTS)
        monkeypatch.setattr(export_files.export_rows, "_value", broken_after(700))
        for attempt, state in ((1, "writing"), (EXPORTS.attempts, "failed")):
            message["attributes"]["ApproximateReceiveCount"] = str(attempt)
            assert write_export({"Records": [message]}, None)["batchItemFailures"]
            assert shown(shop, export)["state"] == state

        assert (shown(shop, export)["reason"], shown(shop, export)["link"]) == ("导出失败，请重新导出", None)
        # Nothing is left of the parts that were stored.
        uploads = shop.client("s3").list_multipart_uploads(Bucket="files")
        assert uploads.get("Uploads", []) == []

    def test_it_fails_for_its_own_reason(self, shop, monkeypatch, caplog):
        monkeypatch.setattr(export_files, "SECONDS", 0)
        monkeypatch.setattr(export_files, "NOTED_EVERY", 80)
        abort, asked = files.abort_upload, []

        def refused(*upload):
            asked.append(upload)
            raise files.FileRefused("AbortMultipartUpload", 503, "SlowDown")

        monkeypatch.setattr(files, "abort_upload", refused)
        write_all(record("refunds", number, explain="测" * 33_000) for number in range(1, 81))
        export = create(shop, "refunds")

        assert shop.work(write_export) == []

        assert (shown(shop, export)["state"], shown(shop, export)["reason"]) == ("failed", "数据太多，请缩短时间")
        assert "the parts of a file were not thrown away" in caplog.text
        (upload,) = asked
        abort(*upload)

    def test_a_sheet_that_is_full(self, shop, monkeypatch):
        monkeypatch.setattr(export_files, "MOST_ROWS", 3)
        write_all(record("recharges", number) for number in range(1, 4))
        full, too_much = create(shop, form="xlsx", end="2024-01-01"), create(shop, form="xlsx")

        assert shop.work(write_export) == []

        assert shown(shop, full)["state"] == "ready"
        said = shown(shop, too_much)
        assert (said["state"], said["rows"], said["link"]) == ("failed", 0, None)
        assert said["reason"] == "超过 2 行，请改用 CSV 或缩短时间"

    def test_a_list_that_takes_too_long(self, shop, monkeypatch):
        monkeypatch.setattr(export_files, "SECONDS", 0)
        monkeypatch.setattr(export_files, "NOTED_EVERY", 2)
        write_all(record("recharges", number) for number in range(1, 4))
        export = create(shop)

        assert shop.work(write_export) == []

        assert (shown(shop, export)["state"], shown(shop, export)["reason"]) == ("failed", "数据太多，请缩短时间")

    def test_one_that_is_gone_is_not_written(self, shop):
        message = {"merchant_id": 12, "export_id": SAMPLE}
        record = {"messageId": "1", "receiptHandle": "1", "body": json.dumps(message), "attributes": {}}

        assert write_export({"Records": [record]}, None) == {"batchItemFailures": []}
        assert shop.rows("exports") == []


def broken_after(cells):
    """Return what breaks down after so many cells, each time anew."""
    right, left = export_rows._value, cells

    def value(*args, **more):
        nonlocal left
        left -= 1
        if not left:
            left = cells
            raise RuntimeError("broken")
        return right(*args, **more)

    return value


@pytest.mark.parametrize("name", ["create_export", "get_export", "write_export"])
def test_samples_are_answered(shop, name):
    order = exports.Order(list="recharges", format="xlsx", store=3, start=0, end=0)
    row = ExportTable(merchant_id=12, export_id=SAMPLE, order=order.model_dump(), path="a.xlsx", state="writing")
    row.created_at, row.expires = NOW, NOW + timedelta(days=7)
    commit(Put(row))
    event = json.loads((ROOT / f"events/membership/{name}.json").read_text(encoding="utf-8"))

    if name == "write_export":
        assert write_export(event, None) == {"batchItemFailures": []}
        assert [one["state"] for one in shop.rows("exports")] == ["ready"]
        return
    operation = {"create_export": create_export, "get_export": get_export}[name]
    answer = operation(event, None)
    assert (answer["statusCode"], json.loads(answer["body"])["errCode"]) == (200, 0), answer["body"]
    assert (event["httpMethod"], event["resource"]) == (operation.verb, operation.path)


def test_every_list_has_its_columns():
    assert set(export_rows.COLUMNS) == set(exports.ListName.__args__)
