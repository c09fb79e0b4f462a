"""The CSV files behind links: what they hold, who sees what, and how large ones are written."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from moto.s3 import models as moto_s3

from chatbot import exports, reports, variable_history
from chatbot.conversation import Vault
from chatbot.exports import EXPORTS
from chatbot.tables import ConversationTable, VariableTable, account_key
from functions.chatbot.fetch_export import fetch_export
from functions.chatbot.get_report_csv import get_report_csv
from functions.chatbot.get_user_history_csv import get_user_history_csv
from functions.chatbot.get_user_variable_csv import get_user_variable_csv
from functions.chatbot.write_export import write_export
from kernel import aws, clock, files, running, secrets, wire
from kernel.tables import Change, Put, commit, replace, write_all
from tests.functions.chatbot.examples import (
    FUNCTIONS,
    IDS,
    JSON,
    NOW,
    OK,
    OTHER_IDS,
    PARTITION,
    PARTNER_KEY,
    UNAUTHORIZED,
    USER_ID,
    add_operator,
    add_partner_key,
    add_users,
    ok,
    refused,
    sample,
    user_row,
)
from tests.functions.chatbot.stored_files import after, drop_exports, stored_files, uploads

CSV = "text/csv; charset=utf-8"
KEY = {"X-Partner-Key": PARTNER_KEY}
AT = datetime(2024, 1, 28, 6, 5, 33, 830000, tzinfo=UTC)
RECORD = "userid,username,userpicture,accounttype,accountstatus,nodeid,tags,followtime,accesstime,createtime"
LINE = (
    "Ucca1dab9cdaa6abf621f352b6a20e24b,Rex曾,https://profile.example.com/0hFAKEPICTUREID,line,0,,[],"
    "2024-01-28 06:04:25.693,2024-01-28 06:05:33.830,2024-01-28 06:04:25.695"
)
STAMP = "20240128064129"
FILES = [get_report_csv, get_user_history_csv]
ALL = [*FILES, get_user_variable_csv]


def talk(user_id=USER_ID, partition=PARTITION, **variables):
    """Store a user who filled in these variables, each once before."""
    state = {"variables": variables, "tags": [], "waiting": None, "taps": {}, "node_id": ""}
    row = ConversationTable(
        account=partition, user_id=user_id, state=state, status="1", status_at=AT, follow_time=AT, access_time=AT,
        user_name="Rex曾", user_picture="",
    )  # fmt: skip
    values = [change for name, value in variables.items() for change in ((name, "before"), (name, value))]
    write_all([Put(row), *variable_history.rows(partition, user_id, values, AT)])


@pytest.fixture
def partner(cloud, account):
    """A partner of the operator, and a channel with the variables a and b."""
    add_partner_key(PARTNER_KEY, "0001")
    commit(replace(VariableTable(account=PARTITION, names=["b", "a"])))
    return account


@pytest.fixture
def owner(cloud):
    """Return the header of the operator himself."""
    add_operator(cloud, "0001", "password")
    answer = cloud.call(FUNCTIONS["login"], {"adminId": "0001", "password": "password"}, caller="")
    return {"Authorization": f"Bearer {answer.body['Result']['id_token']}"}


def asked(cloud, operation, headers=KEY):
    return cloud.call(operation, IDS, caller="", headers=headers)


def url(cloud, operation, headers=KEY):
    """Return the link that an operation answers, in the envelope or as Location."""
    answer = asked(cloud, operation, headers)
    if operation is get_user_variable_csv:
        assert (answer.status, answer.body, list(answer.more)) == (303, "", ["Location"])
        return answer.more["Location"]
    assert answer == ok({"download_url": answer.body["Result"]["download_url"]})
    return answer.body["Result"]["download_url"]


def downloaded(link):
    reply = wire.send("GET", link, {})
    assert (reply.status, reply.headers["content-type"]) == (200, CSV)
    return reply.body.decode()


def test_a_report_has_the_record_and_the_variables_of_each_user(cloud, partner):
    add_users(user_row(), user_row("Udd"))
    talk(a="1, 2", b="=1")

    link = url(cloud, get_report_csv)

    assert downloaded(link) == (f'{RECORD},b,a\n{LINE},\'=1,"1, 2"\n' + LINE.replace(USER_ID, "Udd") + ",,\n")


def test_the_file_has_the_documented_name_and_its_link_lasts_an_hour(cloud, partner):
    link = url(cloud, get_report_csv)

    path, _, query = link.partition("?")
    (row,) = cloud.rows("exports")
    name = f"getReportCsv/{row['export_id']}/{IDS['adminId']}_{IDS['accountId']}_{STAMP}.csv"
    assert path.endswith(f"/exports/chatbot/{name}")
    assert "X-Amz-Expires=3600&" in query
    (file,) = stored_files(cloud)
    assert (row["path"], row["state"], row["file_version"]) == (name, "ready", file.version)
    assert row["expires"] == int((NOW + timedelta(days=8)).timestamp())
    assert cloud.queued(EXPORTS) == []


def test_a_history_has_every_value(cloud, partner):
    talk(a="now")
    talk("Udd", a="x")

    shown = "2024-01-28 06:05:33.830"
    assert downloaded(url(cloud, get_user_history_csv)) == (
        "userid,username,var_name,value,create_time\n"
        f"{USER_ID},Rex曾,a,before,{shown}\n{USER_ID},Rex曾,a,now,{shown}\n"
        f"Udd,Rex曾,a,before,{shown}\nUdd,Rex曾,a,x,{shown}\n"
    )


def test_a_value_whose_user_is_unknown_has_no_name(cloud, partner):
    commit(*variable_history.rows(PARTITION, "Ux", [("a", "1")], AT))

    (row,) = csv.DictReader(io.StringIO(downloaded(url(cloud, get_user_history_csv))))

    assert (row["userid"], row["username"], row["value"]) == ("Ux", "", "1")


def test_variables_are_answered_inline(cloud, partner):
    add_users(user_row(), user_row("Udd", user_name="-Rex"))
    talk(a="1", c="no variable of the channel")

    wanted = f"username,luid,b,a\nRex曾,{USER_ID},,1\n'-Rex,Udd,,\n"
    assert asked(cloud, get_user_variable_csv) == (200, wanted, CSV)
    assert cloud.rows("exports") == []


@pytest.mark.parametrize("operation", ALL, ids=lambda operation: operation.name)
def test_without_users_there_is_the_header(cloud, account, operation):
    add_partner_key(PARTNER_KEY, "0001")
    answer = asked(cloud, operation)
    text = answer.body if operation is get_user_variable_csv else downloaded(answer.body["Result"]["download_url"])

    assert (
        text
        == {
            get_report_csv: f"{RECORD}\n",
            get_user_history_csv: "userid,username,var_name,value,create_time\n",
            get_user_variable_csv: "username,luid\n",
        }[operation]
    )


@pytest.mark.parametrize("operation", ALL, ids=lambda operation: operation.name)
def test_what_is_kept_encrypted_is_for_the_owner(cloud, partner, owner, operation, monkeypatch):
    monkeypatch.setattr(reports, "_INLINE_BYTES", 0)
    add_users(user_row())
    talk(a={"sealed": Vault(IDS["adminId"], IDS["accountId"], USER_ID).seal("a", "A123456789")})

    theirs, his = downloaded(url(cloud, operation)), downloaded(url(cloud, operation, owner))

    assert "A123456789" in his
    assert theirs == his.replace("A123456789", "***")
    assert "A123456789" not in str(cloud.everything())


@pytest.mark.parametrize("operation", ALL, ids=lambda operation: operation.name)
def test_nobody_else_gets_anything(cloud, partner, foreign, operation):
    add_partner_key("theirs", "0002")
    before = cloud.everything()

    assert asked(cloud, operation, {"X-Partner-Key": "theirs"}) == UNAUTHORIZED
    assert asked(cloud, operation, {}) == UNAUTHORIZED
    assert cloud.call(operation, OTHER_IDS, caller="", headers=KEY) == UNAUTHORIZED
    wrong = {**IDS, "accountId": OTHER_IDS["accountId"]}
    assert cloud.call(operation, wrong, caller="", headers=KEY) == refused("accountId not found")
    assert cloud.call(operation, {}, caller="", headers=KEY) == refused("adminId is required; accountId is required")
    assert cloud.everything() == before
    assert stored_files(cloud) == []


@pytest.mark.parametrize("operation", ALL, ids=lambda operation: operation.name)
def test_a_file_is_not_kept_when_the_users_are_erased_meanwhile(cloud, partner, operation, monkeypatch):
    monkeypatch.setattr(reports, "_INLINE_BYTES", 0)
    add_users(user_row())

    with after("PutObject", drop_exports):
        assert asked(cloud, operation) == refused("the users' data was erased meanwhile")

    assert stored_files(cloud) == []


NAME = "N" * 1000


@pytest.fixture
def small(monkeypatch):
    """Parts of two rows, pages of one, and no time at all."""
    monkeypatch.setattr(moto_s3, "S3_UPLOAD_PART_MIN_SIZE", 0)
    monkeypatch.setattr(files, "PART_BYTES", 2000)
    for name, value in {"_ROWS_A_READ": 1, "_USERS_A_READ": 1, "_INLINE_BYTES": 0}.items():
        monkeypatch.setattr(reports, name, value)
    monkeypatch.setattr(exports, "SECONDS_AT_ONCE", 0)
    monkeypatch.setattr(exports, "SECONDS_A_MESSAGE", 0)


def fetched(cloud, link):
    """Follow a link of ours."""
    assert link.startswith("https://chat.example.com/exports/")
    return cloud.call(fetch_export, caller="", path={"ticket": link.rpartition("/")[2]})


def fill(operation):
    """Store five users with long names, or as many long values; return the whole file."""
    letters = "abcde"
    if operation is get_user_history_csv:
        for letter in letters:
            commit(*variable_history.rows(PARTITION, letter, [("a", NAME)], AT))
        shown = "2024-01-28 06:05:33.830"
        return "userid,username,var_name,value,create_time\n" + "".join(f"{x},,a,{NAME},{shown}\n" for x in letters)
    add_users(*(user_row(letter, user_name=NAME) for letter in letters))
    if operation is get_user_variable_csv:
        return "username,luid,b,a\n" + "".join(f"{NAME},{letter},,\n" for letter in letters)
    line = LINE.replace("Rex曾", NAME)
    return f"{RECORD},b,a\n" + "".join(f"{line.replace(USER_ID, letter)},,\n" for letter in letters)


@pytest.mark.parametrize("operation", ALL, ids=lambda operation: operation.name)
def test_a_large_file_is_written_step_by_step(cloud, partner, small, operation):
    whole = fill(operation)

    link = url(cloud, operation)

    writing = fetched(cloud, link)
    result = {"state": "writing", "rows": 0}
    assert (writing, writing.more) == ((202, {**OK, "Result": result}, JSON), {"Retry-After": "5"})
    rows = []
    while (answer := fetched(cloud, link)).status == 202:
        rows.append(answer.body["Result"]["rows"])
        assert cloud.work(write_export) == []
    assert rows == [0, 2, 4]
    assert (answer.status, answer.body, list(answer.more)) == (302, "", ["Location"])
    assert downloaded(answer.more["Location"]) == whole
    (row,) = cloud.rows("exports")
    assert row["state"] == "ready"
    assert (len(stored_files(cloud)), uploads(cloud), cloud.queued(EXPORTS)) == (1, [], [])


def test_a_ticket_lasts_an_hour_and_is_no_other(cloud, partner, small):
    fill(get_report_csv)
    link = url(cloud, get_report_csv)

    with clock.frozen(NOW + timedelta(minutes=59, seconds=59)):
        assert fetched(cloud, link).status == 202
    with clock.frozen(NOW + timedelta(hours=1)):
        assert fetched(cloud, link) == UNAUTHORIZED
    ticket = link.rpartition("/")[2]
    for other in (ticket[:-2] + "AA", f"A{ticket}", "x", "", "fake-ticket"):
        assert fetched(cloud, f"https://chat.example.com/exports/{other}") == UNAUTHORIZED, other


def test_the_sample_ticket_opens_nothing(cloud):
    answer = fetch_export(sample("fetch_export"), None)

    assert (answer["statusCode"], json.loads(answer["body"])) == (401, UNAUTHORIZED[1])


def test_the_sample_message_of_an_export_that_is_gone_is_harmless(cloud):
    assert write_export(sample("write_export"), None) == {"batchItemFailures": []}


def test_a_file_that_is_gone_is_not_found(cloud, partner, small):
    fill(get_report_csv)
    link = url(cloud, get_report_csv)
    drop_exports()

    assert fetched(cloud, link) == refused("export not found")
    assert cloud.work(write_export) == []
    assert (stored_files(cloud), uploads(cloud)) == ([], [])


class Died(BaseException):
    """The function's process ends."""


def dying(number):
    """Return an observer that ends the process after so many calls."""
    left = [number]

    def observe(call):
        left[0] -= 1
        if left[0] == 0:
            raise Died

    return observe


def dying_after(action):
    """Return an observer that ends the process after a call of this action."""

    def observe(call):
        if call.action == action:
            raise Died

    return observe


def deliver(cloud, records, number):
    """Let the worker handle messages, dying after so many calls, and then once more; tell whether it died."""
    observe = dying(number)
    aws.observers.append(observe)
    died = False
    try:
        write_export({"Records": records}, None)
    except Died:
        died = True
    finally:
        aws.observers.remove(observe)
    assert write_export({"Records": records}, None) == {"batchItemFailures": []}
    return died


@pytest.mark.parametrize("operation", ALL, ids=lambda operation: operation.name)
def test_a_crash_at_any_point_and_every_message_twice_make_one_whole_file(cloud, partner, small, operation):
    whole = fill(operation)
    number, died = 0, True

    while died:
        number += 1
        link = url(cloud, operation)
        died = False
        while records := cloud.queued(EXPORTS):
            died = deliver(cloud, records, number) or died
        answer = fetched(cloud, link)
        assert answer.status == 302, number
        assert downloaded(answer.more["Location"]) == whole, number

    assert number > 5
    # One that died before it could note its upload left it behind, empty.
    assert uploads(cloud, parts=True) == []


def test_an_export_that_fails_to_the_last_says_so(cloud, partner, small):
    fill(get_report_csv)
    link = url(cloud, get_report_csv)
    (record,) = cloud.queued(EXPORTS)
    write_export({"Records": [record]}, None)
    (record,) = cloud.queued(EXPORTS)
    # Nobody can finish what the store threw away.
    s3 = cloud.client("s3")
    (upload,) = s3.list_multipart_uploads(Bucket="files")["Uploads"]
    s3.abort_multipart_upload(Bucket="files", Key=upload["Key"], UploadId=upload["UploadId"])

    for attempt in range(1, EXPORTS.attempts + 1):
        assert fetched(cloud, link).status == 202
        record["attributes"]["ApproximateReceiveCount"] = str(attempt)
        assert len(write_export({"Records": [record]}, None)["batchItemFailures"]) == 1

    assert fetched(cloud, link) == refused("the export failed; ask for it again")
    assert stored_files(cloud) == []


def test_an_export_stops_when_the_users_are_erased(cloud, partner, small):
    fill(get_report_csv)
    link = url(cloud, get_report_csv)

    with after("UploadPart", drop_exports):
        assert cloud.work(write_export) == []

    assert cloud.queued(EXPORTS) == []
    assert (stored_files(cloud), uploads(cloud)) == ([], [])
    assert fetched(cloud, link) == refused("export not found")


def test_a_file_that_was_made_when_the_users_were_erased_goes(cloud, partner, small):
    whole = fill(get_report_csv)
    url(cloud, get_report_csv)
    cloud.work(write_export)
    records = cloud.queued(EXPORTS)
    while len(stored_files(cloud)) == 0:
        observe = dying_after("CompleteMultipartUpload")
        aws.observers.append(observe)
        try:
            write_export({"Records": records}, None)
            records = cloud.queued(EXPORTS)
        except Died:
            pass
        finally:
            aws.observers.remove(observe)
    assert [file.body.decode() for file in stored_files(cloud)] == [whole]
    drop_exports()

    assert write_export({"Records": records}, None) == {"batchItemFailures": []}

    assert stored_files(cloud) == []


def test_the_worker_shows_the_owner_what_is_kept_encrypted(cloud, partner, owner, small):
    add_users(*(user_row(letter, user_name=NAME) for letter in "abcde"))
    talk("e", a={"sealed": Vault(IDS["adminId"], IDS["accountId"], "e").seal("a", "A123456789")})
    link = url(cloud, get_report_csv, owner)

    while (answer := fetched(cloud, link)).status == 202:
        cloud.work(write_export)

    assert downloaded(answer.more["Location"]).endswith(",,A123456789\n")


def test_who_lost_the_row_to_another_writer_lets_him_go_on(cloud, partner, small):
    fill(get_report_csv)
    url(cloud, get_report_csv)
    (row,) = exports.ExportTable.query(PARTITION).rows
    ahead = Change(exports.ExportTable, row.own_key(), [exports.ExportTable.step.set(7)])

    with after("UploadPart", lambda: commit(ahead)):
        assert cloud.work(write_export) == []

    assert [json.loads(record["body"])["step"] for record in cloud.queued(EXPORTS)] == [7]


def test_the_columns_stay_those_of_the_beginning(cloud, partner, small):
    whole = fill(get_report_csv)
    link = url(cloud, get_report_csv)
    commit(Put(VariableTable(account=PARTITION, names=["new"], version=9)))

    while (answer := fetched(cloud, link)).status == 202:
        cloud.work(write_export)

    assert downloaded(answer.more["Location"]) == whole


def test_both_spellings_of_the_path_lead_here():
    assert get_report_csv.paths == ("/getReportCSV", "/getReportCsv")


def test_the_partition_is_the_channels():
    order = exports.Order(kind="getReportCsv", admin_id="0001", account_id="x")

    assert order.partition == account_key("0001", "x")


def passing(monkeypatch, action):
    """Let a second pass with each call of this action, and return how many there were."""
    calls = []
    monkeypatch.setattr(exports, "time", SimpleNamespace(monotonic=lambda: float(len(calls))))
    aws.observers.append(lambda call: calls.append(call) if call.action == action else None)
    return calls


@pytest.fixture
def watching():
    """Leave the observers as they were."""
    before = list(aws.observers)
    yield
    aws.observers[:] = before


def test_values_that_take_long_to_decrypt_become_a_file(cloud, partner, owner, monkeypatch, watching):
    monkeypatch.setattr(reports, "_SEALED_A_PIECE", 2)
    vault = {letter: Vault(IDS["adminId"], IDS["accountId"], letter) for letter in "abcdef"}
    add_users(*(user_row(letter) for letter in vault))
    for letter in vault:
        talk(letter, a={"sealed": vault[letter].seal("a", f"secret {letter}")})
    secrets._decrypt.cache_clear()
    monkeypatch.setattr(exports, "SECONDS_AT_ONCE", 3.0)
    calls = passing(monkeypatch, "Decrypt")

    link = url(cloud, get_user_variable_csv, owner)

    assert (len(calls), fetched(cloud, link).status) == (4, 202)
    while (answer := fetched(cloud, link)).status == 202:
        assert cloud.work(write_export) == []
    whole = "".join(f"Rex曾,{letter},,secret {letter}\n" for letter in vault)
    assert downloaded(answer.more["Location"]) == f"username,luid,b,a\n{whole}"


def test_many_users_that_take_long_to_read_become_a_file(cloud, partner, monkeypatch, watching):
    monkeypatch.setattr(reports, "_USERS_A_READ", 1)
    add_users(*(user_row(letter) for letter in "abcdef"))
    monkeypatch.setattr(exports, "SECONDS_AT_ONCE", 4.0)
    calls = passing(monkeypatch, "Query")

    link = url(cloud, get_user_variable_csv)

    # A page of users and one of their conversations twice, then the first of the third page; no more for the file.
    assert len(calls) < 7
    assert fetched(cloud, link).status == 202


def test_a_history_of_sealed_values_comes_in_small_pieces(cloud, partner, owner, monkeypatch):
    monkeypatch.setattr(reports, "_SEALED_A_PIECE", 2)
    vault = Vault(IDS["adminId"], IDS["accountId"], "a")
    values = [("a", {"sealed": vault.seal("a", str(number))}) for number in range(5)]
    commit(*variable_history.rows(PARTITION, "a", values, AT))
    order = exports.Order(kind="getUserHistoryCsv", admin_id=IDS["adminId"], account_id=IDS["accountId"], revealed=True)

    with running.Running("test"):
        found = list(reports.pieces(order, None))
        again = list(reports.pieces(order, found[0].key))

    assert [piece.rows for piece in found] == [2, 2, 1]
    assert [piece.text for piece in again] == [piece.text for piece in found[1:]]


def test_an_owner_of_any_name_has_a_file_of_one_name(cloud):
    order = exports.Order(kind="getReportCsv", admin_id="a/../b c", account_id="x")

    with running.Running("test"):
        exports.export(order, reports.pieces)

    (row,) = cloud.rows("exports")
    assert row["path"] == f"getReportCsv/{row['export_id']}/a%2F..%2Fb%20c_x_{STAMP}.csv"
    assert [file.key.rpartition("getReportCsv/")[2] for file in stored_files(cloud)] == [row["path"].partition("/")[2]]
