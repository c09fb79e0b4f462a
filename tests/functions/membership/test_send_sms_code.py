"""SMS codes: sent once a minute, told to nobody else, used once."""

import re
from datetime import timedelta

import pytest

from functions.membership.send_sms_code import send_sms_code
from kernel import clock, settings
from kernel.secrets import signing_key
from kernel.tables import Change, Put, commit
from local.chat_double import Failure
from local.sms_simulator import sms_simulator
from membership import sms_codes
from membership.faults import WrongSmsCode
from membership.managers import Manager
from membership.tables import ManagerTable, SmsCodeTable
from tests.conftest import NOW
from tests.shops import CASHIER, OTHER_CASHIER, Shop, furnish, prolongs

MOBILE = f"139{CASHIER:08}"
TIME = 1706424089006
OK = {"errCode": 0, "result": 0, "msg": "成功", "time": TIME}
SOON = (1, "短信发送太频繁，请稍后再试")
FAILED = (1, "短信发送失败，请稍后再试")
PERHAPS = (1, "短信可能已发出，若未收到请一分钟后再试")
MINUTE = timedelta(minutes=1)


@pytest.fixture
def phones(cloud, monkeypatch):
    """The SMS service, as it is reached from here."""
    with sms_simulator(keys={"id": "secret"}) as double:
        monkeypatch.setenv("SMS_API_ENDPOINT", double.url)
        settings.settings.cache_clear()
        yield double


@pytest.fixture
def shop(cloud, phones):
    furnish()
    return Shop(cloud)


def manager(manager_id=CASHIER):
    return Manager(str(manager_id), manager_id, 12, 3, "")


def codes(phones):
    return [sent.message["code"] for sent in phones.sent]


def again(shop, after):
    """Ask for another code some time later; return errCode and msg."""
    with clock.frozen(NOW + after):
        body = shop.call(send_sms_code).body
    return body["errCode"], body["msg"]


class TestSend:
    def test_the_documented_example(self, cloud, shop, phones, capfd):
        answer = shop.call(send_sms_code)

        assert (answer.status, answer.body) == (200, OK)
        (sent,) = phones.sent
        code = sent.message["code"]
        assert re.fullmatch("[0-9]{6}", code)
        assert (sent.user, sent.message) == (MOBILE, {"signName": "CityPass", "templateCode": "SMS_1", "code": code})
        (row,) = cloud.rows("sms-codes")
        expires = int((NOW + timedelta(minutes=5)).timestamp())
        assert {**row, "code_digest": ""} == {
            "manager_id": CASHIER, "code_digest": "", "wrong_tries": 0, "expires": expires,
        }  # fmt: skip
        assert re.fullmatch("[0-9a-f]{64}", row["code_digest"])
        # Neither the code nor the phone's number is kept or logged beside the account.
        logged = "".join(capfd.readouterr())
        assert code not in logged
        assert MOBILE not in logged
        assert MOBILE not in str(cloud.rows("rates"))

    def test_codes_differ_and_the_new_one_voids_the_older(self, cloud, shop, phones):
        shop.data(send_sms_code)
        with clock.frozen(NOW + MINUTE):
            shop.data(send_sms_code)
            first, second = codes(phones)
            assert first != second
            with pytest.raises(WrongSmsCode):
                sms_codes.proof(manager(), first)
            sms_codes.proof(manager(), second)

    def test_a_message_that_was_overtaken_leaves_the_newer_code(self, cloud, shop, phones):
        newer = SmsCodeTable(manager_id=CASHIER, code_digest="newer", expires=NOW + timedelta(minutes=6))
        commit(Put(newer))

        shop.data(send_sms_code)

        assert [row["code_digest"] for row in cloud.rows("sms-codes")] == ["newer"]
        assert len(phones.sent) == 1

    def test_once_a_minute(self, cloud, shop, phones):
        shop.data(send_sms_code)

        assert shop.refused(send_sms_code) == SOON
        # A table's times are whole seconds.
        assert again(shop, timedelta(seconds=59)) == SOON
        assert again(shop, MINUTE)[0] == 0
        assert len(phones.sent) == 2

    def test_once_a_minute_to_a_phone_of_several_accounts(self, cloud, shop, phones):
        for manager_id in (CASHIER, OTHER_CASHIER):
            commit(Change(ManagerTable, ManagerTable.key(manager_id), [ManagerTable.phone.set("13900000000")]))
        shop.data(send_sms_code)
        other = Shop(cloud, OTHER_CASHIER)

        assert other.refused(send_sms_code) == SOON
        # What was refused for the phone does not keep the account waiting.
        commit(Change(ManagerTable, ManagerTable.key(OTHER_CASHIER), [ManagerTable.phone.set("13900000001")]))
        other.data(send_sms_code)

    def test_ten_a_day_to_a_phone(self, cloud, shop, phones):
        for number in range(10):
            assert again(shop, number * MINUTE)[0] == 0

        assert again(shop, 10 * MINUTE) == SOON
        assert again(shop, timedelta(hours=23)) == SOON
        assert again(shop, timedelta(days=1))[0] == 0

    def test_without_a_phone(self, cloud, shop, phones):
        commit(Change(ManagerTable, ManagerTable.key(CASHIER), [ManagerTable.phone.remove()]))

        assert shop.refused(send_sms_code) == (1, "账号没有绑定手机号")
        assert phones.calls == []

    @pytest.mark.parametrize(
        "phone",
        [
            f"{MOBILE},13900000022",
            f"+86{MOBILE}",
            f"86{MOBILE}",
            "19005550199x",
            "+19005550199",
            f"{MOBILE}\n",
            "0871631",
        ],
    )
    def test_to_nothing_but_a_mobile_phone_of_the_mainland(self, cloud, shop, phones, phone):
        commit(Change(ManagerTable, ManagerTable.key(CASHIER), [ManagerTable.phone.set(phone)]))

        assert shop.refused(send_sms_code) == (1, "账号绑定的手机号无效")
        assert (phones.calls, cloud.rows("rates")) == ([], [])

    def test_without_a_session_or_the_right_to_it(self, cloud, shop, phones):
        assert cloud.call(send_sms_code, {}, caller="").body["errCode"] == 1002
        commit(Change(ManagerTable, ManagerTable.key(CASHIER), [ManagerTable.permissions.set([])]))
        assert shop.refused(send_sms_code) == (1003, "没有权限")
        assert phones.calls == []


REFUSALS = {
    "isv.BUSINESS_LIMIT_CONTROL": (Failure("/", status=200, message="isv.BUSINESS_LIMIT_CONTROL"), SOON),
    "Throttling.User": (Failure("/", status=400, message="Throttling.User"), SOON),
    "isv.OUT_OF_SERVICE": (Failure("/", status=200, message="isv.OUT_OF_SERVICE"), FAILED),
}
DOUBTS = {
    "isp.SYSTEM_ERROR": Failure("/", status=200, message="isp.SYSTEM_ERROR"),
    "HTTP 503": Failure("/", status=503, message="ServiceUnavailable"),
    # A kept connection that closes without an answer is tried again at once.
    "no answer": Failure("/", status="closed", times=2),
}


class TestFailures:
    @pytest.mark.parametrize("name", REFUSALS)
    def test_a_message_that_is_not_taken_leaves_no_code_and_may_be_asked_for_again(self, cloud, shop, phones, name):
        failure, told = REFUSALS[name]
        phones.fail(Failure(**vars(failure)))

        assert shop.refused(send_sms_code) == told

        assert cloud.rows("sms-codes") == []
        shop.data(send_sms_code)
        assert len(phones.sent) == 1

    @pytest.mark.parametrize("name", REFUSALS)
    def test_the_older_code_stays_good(self, cloud, shop, phones, name):
        failure, told = REFUSALS[name]
        shop.data(send_sms_code)
        phones.fail(Failure(**vars(failure)))
        assert again(shop, MINUTE) == told

        commit(sms_codes.proof(manager(), codes(phones)[0]).write)

    @pytest.mark.parametrize("name", DOUBTS)
    def test_one_that_may_have_arrived_counts_and_its_code_is_good(self, cloud, shop, phones, monkeypatch, name):
        made = []
        digest = sms_codes._digest
        monkeypatch.setattr(sms_codes, "_digest", lambda who, code: made.append(code) or digest(who, code))
        shop.data(send_sms_code)
        phones.fail(Failure(**vars(DOUBTS[name])))

        assert again(shop, MINUTE) == PERHAPS

        assert again(shop, MINUTE) == SOON
        for number in range(2, 10):
            phones.fail(Failure(**vars(DOUBTS[name])))
            assert again(shop, number * MINUTE) == PERHAPS
        assert again(shop, 10 * MINUTE) == SOON
        with pytest.raises(WrongSmsCode):
            sms_codes.proof(manager(), made[0])
        commit(sms_codes.proof(manager(), made[9]).write)

    def test_one_that_was_not_written_down_counts_too(self, cloud, shop, phones, monkeypatch):
        with monkeypatch.context() as patched:
            patched.setattr(sms_codes, "Put", lambda row: 1 / 0)
            assert shop.call(send_sms_code).status == 500

        assert len(phones.sent) == 1
        assert shop.refused(send_sms_code) == SOON

    def test_a_secret_without_keys(self, cloud, shop, phones, monkeypatch):
        held = cloud.client("secretsmanager").create_secret(Name="sms-empty", SecretString="{}")
        monkeypatch.setenv("SMS_SECRET", held["ARN"])
        settings.settings.cache_clear()

        assert shop.refused(send_sms_code) == FAILED
        cloud.client("secretsmanager").delete_secret(SecretId=held["ARN"], ForceDeleteWithoutRecovery=True)


def tries(cloud):
    return [row["wrong_tries"] for row in cloud.rows("sms-codes")]


def wrong(code):
    return f"{(int(code) + 1) % 10**6:06}"


class TestProof:
    @pytest.fixture
    def code(self, shop, phones):
        shop.data(send_sms_code)
        return codes(phones)[0]

    def test_is_used_up_with_what_it_allows_and_only_then(self, cloud, code):
        step = sms_codes.proof(manager(), code)
        assert tries(cloud) == [0]

        commit(step.write)

        assert cloud.rows("sms-codes") == []
        with pytest.raises(WrongSmsCode):
            sms_codes.proof(manager(), code)
        with pytest.raises(Exception, match="changed by somebody else"):
            commit(step.write)
        assert isinstance(step.otherwise, WrongSmsCode)

    def test_wrong_ones_are_counted_and_the_sixth_try_is_too_much(self, cloud, code):
        for number in range(1, 6):
            with pytest.raises(WrongSmsCode) as raised:
                sms_codes.proof(manager(), wrong(code))
            assert (raised.value.err_code, raised.value.message) == (1006, "短信验证码错误")
            assert tries(cloud) == [number]

        for guess in (code, wrong(code)):
            with pytest.raises(WrongSmsCode):
                sms_codes.proof(manager(), guess)
        assert tries(cloud) == [5]

    def test_four_wrong_ones_leave_it_good(self, cloud, code):
        for _ in range(4):
            with pytest.raises(WrongSmsCode):
                sms_codes.proof(manager(), wrong(code))

        commit(sms_codes.proof(manager(), code).write)

    def test_guesses_made_meanwhile_void_it(self, cloud, code):
        step = sms_codes.proof(manager(), code)
        for _ in range(5):
            with pytest.raises(WrongSmsCode):
                sms_codes.proof(manager(), wrong(code))

        with pytest.raises(Exception, match="changed by somebody else"):
            commit(step.write)

    def test_a_new_one_sent_meanwhile_voids_it(self, cloud, shop, code):
        step = sms_codes.proof(manager(), code)
        again(shop, MINUTE)

        with pytest.raises(Exception, match="changed by somebody else"):
            commit(step.write)

    def test_is_good_for_five_minutes(self, cloud, code):
        with clock.frozen(NOW + timedelta(minutes=5, seconds=-1)):
            step = sms_codes.proof(manager(), code)
        with clock.frozen(NOW + timedelta(minutes=5)), pytest.raises(WrongSmsCode):
            sms_codes.proof(manager(), code)
        commit(step.write)

    def test_is_good_for_its_manager_only(self, cloud, shop, code):
        with pytest.raises(WrongSmsCode):
            sms_codes.proof(manager(OTHER_CASHIER), code)
        row = SmsCodeTable.find(CASHIER)
        row.manager_id = OTHER_CASHIER
        commit(Put(row))
        with pytest.raises(WrongSmsCode):
            sms_codes.proof(manager(OTHER_CASHIER), code)

    @pytest.mark.parametrize("given", ["", " ", "12345", "１２３４５６", "x" * 500])
    def test_what_is_no_code(self, cloud, code, given):
        with pytest.raises(WrongSmsCode):
            sms_codes.proof(manager(), given)

    def test_who_reads_the_table_needs_the_key(self, cloud, code, monkeypatch):
        signing_key.cache_clear()
        held = cloud.client("secretsmanager").create_secret(Name="other-key", SecretString="t" * 64)
        monkeypatch.setenv("SIGNING_SECRET", held["ARN"])
        settings.settings.cache_clear()

        with pytest.raises(WrongSmsCode):
            sms_codes.proof(manager(), code)
        cloud.client("secretsmanager").delete_secret(SecretId=held["ARN"], ForceDeleteWithoutRecovery=True)


def test_sessions_are_prolonged(shop):
    prolongs(shop, send_sms_code)
