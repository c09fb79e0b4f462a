import io
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta

import pytest
import qrcode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from qrcode.constants import ERROR_CORRECT_M

from functions.membership.scan_qrcode import scan_qrcode
from functions.membership.show_card_code import show_card_code
from functions.membership.show_coupon_code import show_coupon_code
from kernel import clock
from kernel.tables import Put, commit
from membership import codes
from membership.faults import Refused
from membership.tables import CardTable, CouponTable, CustomerTable, HoldingTable, MerchantTable, owner_key
from tests.conftest import NOW
from tests.shops import (
    ACTIVITY,
    CASHIER,
    MERCHANT,
    OTHER_MERCHANT,
    OWNER,
    PHONE,
    STORED_VALUE,
    Shop,
    calls_made,
    furnish,
    prolongs,
)

CARD_NO = 7919121421128
OPENED = datetime(2019, 12, 14, 13, 4, 41, tzinfo=UTC)
OF_CARD = {
    "id": 8, "membershipCardId": 3, "userId": 7, "qrcodeType": 1, "phone": PHONE, "balance": 810.0,
    "created": "2019-12-14 21:04:41", "cardNo": CARD_NO, "title": "外婆味道储值卡", "summary": "储值卡",
    "colour": "#34988E", "logo": "/item/191213/b711eb02-ceb0-4f52-b141-a45eb4f813dc.jpeg", "type": 10,
    "storeIds": "3,4", "grade": "黄金会员", "summaryGrade": "1", "capital": 0.0, "send": 0.0, "code": None,
    "avatar": "https://liyuquan.cn/avatar.jpg", "nickname": "路遥😴😴",
}  # fmt: skip
OF_COUPON = {
    "num": 1, "qrcodeType": 2, "couponId": 1, "userId": 7, "quantity": 4, "code": "", "created": "2019-12-14 21:04:41",
    "title": "20 元优惠券", "summary": "使用说明，简介",
    "logo": "/item/200212/a1f46021-dcd2-44d0-802a-66aad94bbd23.png", "storeIds": "5,4,3", "date": "2030-03-01 00:00:00",
    "storeName": "外婆味道大观店/外婆味道吾悦店/外婆味道南屏店/", "status": None,
}  # fmt: skip
# Made with the tests' key: HMAC-SHA-256 over "membership code", a zero byte and what stands before the last colon.
LASTING = "LYQ2:1:0:BAHHS7WIOFQWCLAX"
IN_FIVE_MINUTES = "LYQ1:7919121421128:S7YLHH:BDWCNGK7TLNZQ6HG"


@pytest.fixture
def shop(cloud):
    furnish()
    customer = CustomerTable(
        merchant_id=MERCHANT, phone=PHONE, user_id=7, nickname="路遥😴😴", avatar="https://liyuquan.cn/avatar.jpg"
    )
    coupon = HoldingTable(
        user_id=7, coupon_id=1, num=1, merchant_id=MERCHANT, quantity=4, given=4, entries=1, created_at=OPENED
    )
    for row in (customer, coupon):
        commit(Put(row))
    card(8, STORED_VALUE, CARD_NO, type=10, principal=50000, gift=31000, grade="黄金会员", summary_grade="1")
    return Shop(cloud)


def card(card_id, product_id, card_no, *, phone=PHONE, **facts):
    row = CardTable(
        owner=owner_key(MERCHANT, phone), product_id=product_id, id=card_id, card_no=card_no, merchant_id=MERCHANT,
        user_id=7, phone=phone, password_hash="", created_at=OPENED, **facts,
    )  # fmt: skip
    commit(Put(row))


def signed_codes_only():
    merchant = MerchantTable.find("merchant", MERCHANT)
    merchant.signed_codes_only = True
    commit(Put(merchant))


class TestScanning:
    def test_a_card_is_shown_with_its_customer(self, shop):
        with calls_made() as calls:
            answer = shop.call(scan_qrcode, qrcode=f"LYQ1:{CARD_NO}")

        assert answer.body == {"errCode": 0, "result": 0, "data": OF_CARD, "time": 1706424089006}
        assert calls == ["GetItem", "GetItem", "Query", "BatchGetItem"]

    def test_an_activity_card_shows_what_is_left_of_both(self, shop):
        card(7, ACTIVITY, 7919121420122, type=11, principal=158240, gift=189560)

        found = shop.data(scan_qrcode, qrcode="LYQ1:7919121420122")

        assert (found["balance"], found["capital"], found["send"], found["type"]) == (3478.0, 1582.4, 1895.6, 11)
        assert (found["grade"], found["summaryGrade"]) == (None, None)

    def test_a_card_whose_customer_is_gone_is_shown_without_him(self, shop):
        card(9, STORED_VALUE, 7919121421129, phone="13800000008", type=10)

        found = shop.data(scan_qrcode, qrcode="LYQ1:7919121421129")

        assert (found["phone"], found["nickname"], found["avatar"]) == ("13800000008", None, None)

    def test_a_coupon_is_shown_with_its_stores(self, shop):
        with calls_made() as calls:
            answer = shop.call(scan_qrcode, qrcode="LYQ2:1")

        assert answer.body == {"errCode": 0, "result": 0, "data": OF_COUPON, "time": 1706424089006}
        assert calls == ["GetItem", "GetItem", "Query", "BatchGetItem", "BatchGetItem"]

    def test_an_expired_or_used_up_coupon_still_scans(self, shop):
        coupon = CouponTable.find(MERCHANT, 1)
        coupon.date, coupon.status = NOW - timedelta(days=400), 2
        holding = HoldingTable.find(7, 1)
        holding.quantity = 0
        for row in (coupon, holding):
            commit(Put(row))

        assert shop.data(scan_qrcode, qrcode="LYQ2:1")["quantity"] == 0

    def test_signed_codes_show_the_same(self, shop):
        assert shop.data(scan_qrcode, qrcode=IN_FIVE_MINUTES) == OF_CARD
        assert shop.data(scan_qrcode, qrcode=LASTING) == OF_COUPON

    def test_a_shown_code_expires_and_a_printed_one_does_not(self, shop):
        with clock.frozen(NOW + timedelta(seconds=299)):
            assert shop.data(scan_qrcode, qrcode=IN_FIVE_MINUTES) == OF_CARD
        with clock.frozen(NOW + timedelta(seconds=300)):
            assert shop.refused(scan_qrcode, qrcode=IN_FIVE_MINUTES) == (1, "二维码已过期，请刷新后再扫")
        with clock.frozen(NOW + timedelta(days=6)):
            assert shop.data(scan_qrcode, qrcode=LASTING) == OF_COUPON

    def test_a_merchant_may_refuse_plain_codes(self, shop):
        signed_codes_only()

        for plain in ("LYQ2:1", f"LYQ1:{CARD_NO}"):
            assert shop.refused(scan_qrcode, qrcode=plain) == (1, "此商户只接受签名二维码，请出示最新的二维码")
        assert shop.data(scan_qrcode, qrcode=LASTING) == OF_COUPON
        assert shop.data(scan_qrcode, qrcode=IN_FIVE_MINUTES) == OF_CARD

    @pytest.mark.parametrize("code", [f"LYQ1:{CARD_NO}", "LYQ2:1", IN_FIVE_MINUTES, LASTING])
    def test_what_is_another_merchants_is_denied(self, cloud, shop, code):
        furnish(OTHER_MERCHANT)

        assert Shop(cloud, CASHIER + 1000).refused(scan_qrcode, qrcode=code) == (1003, "没有权限")

    def test_a_merchants_account_may_scan(self, cloud, shop):
        assert Shop(cloud, OWNER).data(scan_qrcode, qrcode="LYQ2:1") == OF_COUPON

    @pytest.mark.parametrize(
        ("code", "refusal"),
        [
            ("LYQ1:7919121421999", (1, "会员卡不存在")),
            ("LYQ2:99", (1, "优惠券不存在")),
            ("LYQ3:1", (1, "无法识别的二维码")),
            ("LYQ1:", (1, "无法识别的二维码")),
            ("LYQ2:01", (1, "无法识别的二维码")),
            ("LYQ2:１", (1, "无法识别的二维码")),
            ("LYQ2:1 ", (1, "无法识别的二维码")),
            ("LYQ2:1:0", (1, "无法识别的二维码")),
            ("https://example.com/", (1, "无法识别的二维码")),
            ("LYQ2:2" + LASTING[6:], (1, "二维码无效")),
            ("LYQ2:1:ZZZZZZ" + LASTING[8:], (1, "二维码无效")),
            ("", (4, "缺少参数：qrcode")),
        ],
    )
    def test_what_is_no_code(self, shop, code, refusal):
        assert shop.refused(scan_qrcode, qrcode=code) == refusal

    def test_sessions_are_prolonged(self, shop):
        prolongs(shop, scan_qrcode)


class TestTexts:
    @given(
        kind=st.sampled_from([codes.CARD, codes.COUPON]),
        number=st.integers(1, 10**16 - 1),
        seconds=st.integers(1, 10**9) | st.none(),
    )
    @settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_what_is_made_is_read(self, cloud, kind, number, seconds):
        expires = None if seconds is None else NOW + timedelta(seconds=seconds)

        assert codes.read(codes.signed(kind, number, expires)) == (kind, number, True)
        assert codes.read(codes.plain(kind, number)) == (kind, number, False)

    @given(
        number=st.integers(1, 10**16 - 1),
        seconds=st.integers(1, 10**9) | st.none(),
        place=st.integers(0, 100),
        other=st.characters(codec="utf-8") | st.sampled_from("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ:abc"),
    )
    @settings(deadline=None, max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_what_was_changed_is_refused(self, cloud, number, seconds, place, other):
        text = codes.signed(codes.COUPON, number, None if seconds is None else NOW + timedelta(seconds=seconds))
        place %= len(text)
        changed = text[:place] + other + text[place + 1 :]

        if changed == text:
            assert codes.read(changed).number == number
        else:
            with pytest.raises(Refused):
                codes.read(changed)

    @given(st.text(max_size=60))
    def test_what_is_no_code_is_refused(self, text):
        with pytest.raises(Refused, match="无法识别的二维码"):
            codes.read("LYQ" + text.replace(":", ";"))

    def test_a_code_is_short_and_of_few_characters(self, cloud):
        text = codes.signed(codes.CARD, CARD_NO, NOW)

        # Digits, capitals and colons: a QR code of 29 by 29 squares.
        assert len(text) == 42
        assert drawn(text).version == 3


def drawn(text):
    code = qrcode.QRCode(error_correction=ERROR_CORRECT_M)
    code.add_data(text)
    code.make()
    return code


def squares(text):
    return [[bool(dark) for dark in row] for row in drawn(text).get_matrix()]


def modules(png):
    """Return the squares of a picture, as a scanner sees them."""
    image = Image.open(io.BytesIO(png)).convert("L")
    return [
        [image.getpixel((x + 5, y + 5)) < 128 for x in range(0, image.width, 10)] for y in range(0, image.height, 10)
    ]


class TestPictures:
    def show(self, cloud, operation, what, query=None, groups=("12",), merchant="12"):
        (name, value), *_ = what.items()
        return cloud.call(
            operation, None, caller="anna", groups=groups, path={"merchant": merchant, name: value}, query=query
        )

    def test_a_cards_code_is_a_png_for_five_minutes(self, cloud, shop):
        answer = self.show(cloud, show_card_code, {"card": "8"})

        assert (answer.status, answer.content_type, answer.more) == (200, "image/png", {})
        assert modules(answer.body) == squares(IN_FIVE_MINUTES)

    def test_a_coupons_code_is_a_png_for_print(self, cloud, shop):
        answer = self.show(cloud, show_coupon_code, {"num": "1"}, {"seconds": "0"}, groups=["platform"])

        assert (answer.status, answer.content_type) == (200, "image/png")
        assert modules(answer.body) == squares(LASTING)

    @pytest.mark.parametrize(
        ("operation", "what", "text"),
        [(show_card_code, {"card": "8"}, IN_FIVE_MINUTES), (show_coupon_code, {"num": "1"}, LASTING)],
    )
    def test_an_svg_has_the_same_squares(self, cloud, shop, operation, what, text):
        seconds = "0" if text == LASTING else "300"

        answer = self.show(cloud, operation, what, {"format": "svg", "seconds": seconds})

        assert (answer.status, answer.content_type) == (200, "image/svg+xml")
        (path,) = ET.fromstring(answer.body).iter("{http://www.w3.org/2000/svg}path")
        assert path.get("d").count("M") == sum(map(sum, squares(text)))

    @pytest.mark.parametrize(
        ("operation", "what", "message"),
        [
            (show_card_code, {"card": "99"}, "会员卡不存在"),
            (show_coupon_code, {"num": "99"}, "优惠券不存在"),
        ],
    )
    def test_what_is_not_there_is_not_found(self, cloud, shop, operation, what, message):
        answer = self.show(cloud, operation, what)

        assert answer.status == 404
        assert answer.body == {"errCode": 1, "result": 1, "msg": message, "time": 1706424089006}

    @pytest.mark.parametrize(("operation", "what"), [(show_card_code, {"card": "8"}), (show_coupon_code, {"num": "1"})])
    def test_another_merchants_is_not_found_either(self, cloud, shop, operation, what):
        assert self.show(cloud, operation, what, merchant="13", groups=["13"]).status == 404
        assert self.show(cloud, operation, what, merchant="13", groups=["platform"]).status == 404

    @pytest.mark.parametrize(("operation", "what"), [(show_card_code, {"card": "8"}), (show_coupon_code, {"num": "1"})])
    def test_who_does_not_work_for_the_merchant_is_denied(self, cloud, shop, operation, what):
        answer = self.show(cloud, operation, what, groups=["13"])

        assert answer.status == 403
        assert answer.body == {"errCode": 403, "result": 1, "msg": "Permission denied", "time": 1706424089006}

    @pytest.mark.parametrize("merchant", ["012", "+12", " 12", "1_2", "12.0"])
    def test_a_merchant_is_spelled_in_one_way(self, cloud, shop, merchant):
        for operation, what in ((show_card_code, {"card": "8"}), (show_coupon_code, {"num": "1"})):
            answer = self.show(cloud, operation, what, merchant=merchant, groups=["platform"])

            assert (answer.status, answer.body["msg"]) == (400, "merchant must be a whole number")

    @pytest.mark.parametrize("query", [{"format": "gif"}, {"seconds": "-1"}, {"seconds": "86401"}, {"seconds": "many"}])
    def test_other_formats_and_times_are_refused(self, cloud, shop, query):
        for operation, what in ((show_card_code, {"card": "8"}), (show_coupon_code, {"num": "1"})):
            answer = self.show(cloud, operation, what, query)

            assert answer.status == 400
            assert answer.body["msg"].startswith(next(iter(query)))
