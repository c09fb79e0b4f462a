"""The conversation records, as a list and as CSV."""

import csv
import gzip
import io
import json
import re
from datetime import UTC, datetime, timedelta
from importlib import resources

import jwt
import pytest

from chatbot import exports, reports, users
from functions.chatbot.get_chat_history import get_chat_history
from functions.chatbot.get_chat_history_csv import get_chat_history_csv
from kernel import wire
from kernel.operations import answer_size
from kernel.settings import settings
from tests.functions.chatbot.examples import (
    FUNCTIONS,
    IDS,
    NOW,
    OTHER_IDS,
    PARTNER_KEY,
    UNAUTHORIZED,
    USER_ID,
    add_operator,
    add_partner_key,
    add_users,
    documented,
    ok,
    refused,
    user_row,
)
from tests.functions.chatbot.stored_files import after_put, drop_exports, stored_files

CSV = "text/csv; charset=utf-8"
HEADER = "userid,username,userpicture,accounttype,accountstatus,nodeid,tags,followtime,accesstime,createtime\n"
LINE = (
    "Ucca1dab9cdaa6abf621f352b6a20e24b,Rex曾,https://profile.example.com/0hFAKEPICTUREID,line,0,,[],"
    "2024-01-28 06:04:25.693,2024-01-28 06:05:33.830,2024-01-28 06:04:25.695\n"
)
RECORD = {
    "userId": USER_ID,
    "userName": "Rex曾",
    "userPicture": "https://profile.example.com/0hFAKEPICTUREID",
    "accountType": "line",
    "accountStatus": "0",
    "nodeId": "",
    "tags": [],
    "followTime": "2024-01-28 06:04:25.693",
    "accessTime": "2024-01-28 06:05:33.830",
    "createTime": "2024-01-28 06:04:25.695",
}
NOON = datetime(2024, 1, 28, 12, tzinfo=UTC)
DAY = {"startTime": "2024-01-28 00:00:00", "endTime": "2024-01-28 23:59:59.999"}
KEY = {"X-Partner-Key": PARTNER_KEY}


@pytest.fixture
def partner(cloud, account):
    add_partner_key(PARTNER_KEY, "0001")
    return account


def exported(cloud, headers=KEY, **period):
    return cloud.call(get_chat_history_csv, {**IDS, **DAY, **period}, caller="", headers=headers)


def names(answer):
    assert answer == (200, answer.body, CSV)
    return [row["username"] for row in csv.DictReader(io.StringIO(answer.body))]


def test_lists_the_documented_record(cloud, account):
    assert cloud.call(get_chat_history, IDS) == ok({"data": []})
    add_users(user_row())
    assert cloud.call(get_chat_history, IDS) == ok({"data": [RECORD]})


def test_the_latest_activity_comes_first(cloud, account, foreign, monkeypatch):
    monkeypatch.setattr(users, "RECORDS_A_PAGE", 2)
    tags = [{"name": "tag", "color": "red-filter", "value": "not shown"}, {"name": "標籤", "color": ""}]
    times = {"Ub": 1, "Ua": 3, "Ud": 0, "Uc": 2}
    add_users(*(user_row(user_id, access_time=NOON + timedelta(seconds=n)) for user_id, n in times.items()))
    add_users(user_row("Ue", access_time=NOON - timedelta(1), tags=tags, node_id="node", account_status="1"))

    pages, key = [], None
    while key != "":
        result = cloud.call(get_chat_history, {**IDS, "lastEvaluatedKey": key}).body["Result"]
        key = result.pop("lastEvaluatedKey", "")
        pages.append(result["data"])
    assert [[record["userId"] for record in page] for page in pages] == [["Ua", "Uc"], ["Ub", "Ud"], ["Ue"]]
    shown = [{"name": "tag", "color": "red-filter"}, {"name": "標籤", "color": ""}]
    changed = {"userId": "Ue", "nodeId": "node", "accountStatus": "1", "tags": shown}
    assert pages[2] == [{**RECORD, **changed, "accessTime": "2024-01-27 12:00:00.000"}]
    assert cloud.call(get_chat_history, foreign.ids, caller="0002") == ok({"data": []})
    no_key = refused("lastEvaluatedKey is not a key of this list")
    assert cloud.call(get_chat_history, {**IDS, "lastEvaluatedKey": "x"}) == no_key


def test_exports_the_documented_record(cloud, partner):
    add_users(user_row())

    assert cloud.call(get_chat_history_csv, documented("get_chat_history_csv"), headers=KEY) == (200, HEADER, CSV)
    assert exported(cloud) == (200, HEADER + LINE, CSV)


# What is stored, and the cell that it makes.
CELLS = [
    ("Rex,曾", '"Rex,曾"'),
    ('say "hi"', '"say ""hi"""'),
    ("two\nlines", '"two\nlines"'),
    ("two\rlines", '"two\rlines"'),
    ("=1+1", "'=1+1"),
    ("+886", "'+886"),
    ("-1", "'-1"),
    ("@SUM(A1)", "'@SUM(A1)"),
    ("＝1", "'＝1"),
    ("\t=1", "'\t=1"),
    ("\r=1", '"\'\r=1"'),
    ("\n=1", '"\'\n=1"'),
    ('=HYPERLINK("x")', '"\'=HYPERLINK(""x"")"'),
    ("'=1", "'=1"),
    ("", ""),
    (" 👍🏽 ", " 👍🏽 "),
]


def test_cells_are_quoted_and_no_formulas(cloud, partner):
    """RFC 4180 for separators, a leading quote for what a spreadsheet would run."""
    ids = [f"U{place:02}" for place in range(len(CELLS))]
    rows = [user_row(user_id, user_name=name, access_time=NOON) for user_id, (name, _) in zip(ids, CELLS, strict=True)]
    tags = [{"name": 'a,"標', "color": "red-filter"}]
    add_users(*rows, user_row("U99", access_time=NOON, tags=tags, node_id="-node"))

    answer = exported(cloud)

    line = LINE.replace("2024-01-28 06:05:33.830", "2024-01-28 12:00:00.000")
    tags_cell = '"[{""name"":""a,\\""標"",""color"":""red-filter""}]"'
    lines = [
        line.replace("Rex曾", cell).replace(USER_ID, user_id) for user_id, (_, cell) in zip(ids, CELLS, strict=True)
    ]
    lines += [line.replace(USER_ID, "U99").replace(",[],", f",{tags_cell},").replace(",0,,", ",0,'-node,")]
    assert answer == (200, HEADER + "".join(lines), CSV)
    # A reader gets back what was there, but for the leading quotes.
    read = list(csv.DictReader(io.StringIO(answer.body, newline="")))
    assert [row["username"].removeprefix("'") for row in read[:-1]] == [name.removeprefix("'") for name, _ in CELLS]
    assert json.loads(read[-1]["tags"]) == tags


# Users a to e were active at 12:00:00, .001, .500, 12:00:01 and on the day after.
PERIODS = [
    (("2024-01-28 12:00:00", "2024-01-28 12:00:01"), "abcd"),
    (("2024-01-28 12:00:00.001", "2024-01-28 12:00:00.500"), "bc"),
    (("2024-01-28T12:00:00.001Z", "2024-01-28T12:00:00.5Z"), "bc"),
    (("2024-01-28T20:00:00.001+08:00", "2024-01-28 20:00:00.50+08:00"), "bc"),
    (("2024-01-28 12:00:00.0019", "2024-01-28 12:00:00.5009"), "bc"),
    (("2024-01-28 12:00:00", "2024-01-28 12:00:00"), "a"),
    (("2024-01-28 12:00:00.002", "2024-01-28 12:00:00.499"), ""),
    (("2024-01-28 12:00:01.001", "2024-01-29 12:00:00"), "e"),
    (("2024-01-28", "2024-01-28"), "abcd"),
    (("2024-01-28", "2024-01-29"), "abcde"),
    ((" 2024-01-01 00:00:00 ", "9999-12-31 23:59:59"), "abcde"),
    (("0001-01-01 00:00:00", "2024-01-28 11:59:59.999"), ""),
]


def test_the_period_holds_both_its_ends(cloud, partner, monkeypatch):
    monkeypatch.setattr(reports, "_ROWS_A_READ", 2)
    for name, after in zip("abcde", (0, 1, 500, 1000, 86_400_000), strict=True):
        add_users(user_row(f"U{name}", user_name=name, access_time=NOON + timedelta(milliseconds=after)))

    found = ["".join(names(exported(cloud, startTime=start, endTime=end))) for (start, end), _ in PERIODS]

    assert found == [letters for _, letters in PERIODS]


TIMES = {
    "startTime must be a time like 2024-01-28 06:04:25.693": [
        "", "x", "2024-01", "28.01.2024 06:04:25", "1706421865", "2024-1-28 6:04:25", "2024-01-28 06:04:25 UTC",
        "2024-01-28 06:04:25\n2024", "2024-01-28  06:04:25", "2024-01-28 06:04:25.", "٢٠٢٤-01-28 06:04:25",
    ],
    "startTime month must be in 1..12": ["2024-13-01 00:00:00"],
    "startTime day is out of range for month": ["2023-02-29 00:00:00"],
    "startTime hour must be in 0..23": ["2024-01-28 24:00:00"],
    "startTime must be a time between the years 1 and 9999": ["0001-01-01 00:00:00+14:00", "9999-12-31 23:59:59-14:00"],
    "startTime is after endTime": ["2024-01-29 00:00:00", "2024-01-28T23:59:59.999-00:01"],
    "startTime must be a valid string": [1706421865, 1.5, None, [], True],
}  # fmt: skip


def test_refuses(partner, refuses):
    body = {**IDS, **DAY}
    cases = [({**body, "startTime": time}, message) for message, times in TIMES.items() for time in times]
    cases += [({**body, "endTime": "x"}, "endTime must be a time like 2024-01-28 06:04:25.693")]
    refuses(get_chat_history_csv, cases, headers=KEY)


def moved(cloud):
    """Return where a large export is, as the answer says."""
    answer = exported(cloud)
    assert (answer.status, answer.body, list(answer.more)) == (303, "", ["Location"])
    return answer.more["Location"]


def test_more_than_an_answer_holds_becomes_a_file(cloud, partner, monkeypatch):
    add_users(user_row())
    monkeypatch.setattr(reports, "_INLINE_BYTES", answer_size(HEADER + LINE))
    assert exported(cloud) == (200, HEADER + LINE, CSV)
    assert cloud.rows("exports") == []
    monkeypatch.setattr(reports, "_INLINE_BYTES", answer_size(HEADER + LINE) - 1)

    location = moved(cloud)

    file = wire.send("GET", location, {})
    assert (file.status, file.headers["content-type"], file.body.decode()) == (200, CSV, HEADER + LINE)
    assert cloud.queued(exports.EXPORTS) == []


def test_a_file_that_takes_longer_is_written_by_the_worker(cloud, partner, monkeypatch):
    monkeypatch.setattr(reports, "_INLINE_BYTES", 0)
    monkeypatch.setattr(reports, "_ROWS_A_READ", 1)
    monkeypatch.setattr(exports, "SECONDS_AT_ONCE", 0)
    add_users(user_row("Ua"), user_row("Ub"))

    location = moved(cloud)

    assert re.fullmatch(r"https://chat\.example\.com/exports/[0-9A-Za-z_-]+", location)
    assert len(cloud.queued(exports.EXPORTS)) == 1


def test_a_file_is_not_kept_when_the_users_are_erased_meanwhile(cloud, partner, monkeypatch):
    add_users(user_row())
    monkeypatch.setattr(reports, "_INLINE_BYTES", 0)

    with after_put(drop_exports):
        answer = exported(cloud)

    assert answer == refused("the users' data was erased meanwhile")
    assert stored_files(cloud) == []


def test_a_partners_key_opens_its_tenants_until_it_expires(cloud, account, foreign):
    instant = timedelta(milliseconds=1)
    add_partner_key("for both", "0001", "0002")
    add_partner_key("for the other", "0002")
    add_partner_key("still good", "0001", expires_at=NOW + instant)
    add_partner_key("over now", "0001", expires_at=NOW)
    add_partner_key("over long ago", "0001", expires_at=NOW - timedelta(days=1))
    before = cloud.everything()

    answers = {
        key: exported(cloud, {"X-PARTNER-KEY": key}).status
        for key in ("for both", "for the other", "still good", "over now", "over long ago", "unknown", "For both", "")
    }

    good = {"for both", "still good"}
    assert answers == {key: 200 if key in good else 401 for key in answers}
    theirs = {**OTHER_IDS, **DAY}
    assert cloud.call(get_chat_history_csv, theirs, caller="", headers={"X-Partner-Key": "for both"}).status == 200
    # A key opens what it is for only, and only this operation knows keys.
    assert exported(cloud, {"X-Partner-Key": "for the other"}) == UNAUTHORIZED
    assert cloud.call(get_chat_history, IDS, caller="", headers={"X-Partner-Key": "for both"}) == UNAUTHORIZED
    assert cloud.everything() == before
    # Only digests are kept.
    assert "for both" not in json.dumps(cloud.rows("partner-keys"), default=list)


@pytest.fixture
def tokens(cloud, account):
    """Tokens of an operator's real sign-in."""
    add_operator(cloud, "0001", "password")
    answer = cloud.call(FUNCTIONS["login"], {"adminId": "0001", "password": "password"}, caller="")
    return answer.body["Result"]


def bearer(token, scheme="Bearer"):
    return {"Authorization": f"{scheme} {token}"}


def pool_key():
    """Returns a private key of moto's pools and its id."""
    packed = resources.files("moto.cognitoidp").joinpath("resources/jwks-private.json.gz").read_bytes()
    key = json.loads(gzip.decompress(packed))
    return jwt.PyJWK({**key, "alg": "RS256"}).key, key.get("kid", "dummy")


def test_an_operators_token_opens_his_own_tenant(cloud, tokens, foreign):
    add_users(user_row())

    assert exported(cloud, bearer(tokens["id_token"])) == (200, HEADER + LINE, CSV)
    assert exported(cloud, bearer(f" {tokens['id_token']} ", "bearer")) == (200, HEADER + LINE, CSV)
    theirs = {**OTHER_IDS, **DAY}
    assert cloud.call(get_chat_history_csv, theirs, caller="", headers=bearer(tokens["id_token"])) == UNAUTHORIZED


def test_other_tokens_open_nothing(cloud, tokens):
    before = cloud.everything()
    token = tokens["id_token"]
    head, body, signature = token.split(".")
    key, kid = pool_key()
    claims = jwt.decode(token, options={"verify_signature": False})

    def signed(headers=None, **changes):
        values = {name: value for name, value in {**claims, **changes}.items() if value is not None}
        return jwt.encode(values, key, "RS256", headers={"kid": kid, **(headers or {})})

    # What is signed here opens the door when nothing is changed, so each refusal is for the change.
    assert exported(cloud, bearer(signed())).status == 200
    refused_tokens = {
        "access token": tokens["access_token"],
        "refresh token": tokens["refresh_token"],
        "marked as access token": signed(token_use="access"),
        "expired": signed(exp=1706421865),
        "without expiry": signed(exp=None),
        "of another client": signed(aud="other"),
        "of another pool": signed(iss=f"{settings().pool_issuer}x"),
        "without a name": signed(**{"cognito:username": None}),
        "of somebody else": signed(**{"cognito:username": "0002"}),
        "with an unknown key": signed({"kid": "other"}),
        "unsigned": jwt.encode(claims, None, "none", headers={"kid": kid}),
        "signed with a text": jwt.encode(claims, "s" * 64, "HS256", headers={"kid": kid}),
        "with another signature": f"{head}.{body}.{signature[:-6]}AAAAAA",
        "with another content": f"{head}.{body[:-4]}AAAA.{signature}",
        "no token": "x",
        "nothing": "",
    }
    for name, refused_token in refused_tokens.items():
        assert exported(cloud, bearer(refused_token)) == UNAUTHORIZED, name
    for headers in (
        {},
        bearer(token, "Basic"),
        {"Authorization": token},
        {**bearer(token), "X-Partner-Key": "unknown"},
    ):
        assert exported(cloud, headers) == UNAUTHORIZED, headers
    # A gateway that checked a token is not there, so what it would say counts for nothing.
    assert cloud.call(get_chat_history_csv, {**IDS, **DAY}, caller="0001") == UNAUTHORIZED
    assert cloud.everything() == before
