"""Keys for partners: made once, shown once, good until they expire or are revoked."""

import json
import re
from datetime import timedelta

from chatbot.partner_keys import KEYS_LIMIT, PartnerKeyNameTable
from functions.chatbot.create_partner_key import create_partner_key
from functions.chatbot.get_partner_keys import get_partner_keys
from functions.chatbot.revoke_partner_key import revoke_partner_key
from kernel import aws, clock
from kernel.audit import digest
from kernel.auth import PartnerKeyTable
from kernel.tables import Delete, commit
from tests.functions.chatbot.examples import (
    FUNCTIONS,
    IDS,
    NOW,
    OTHER_IDS,
    UNAUTHORIZED,
    audited,
    documented,
    ok,
    refused,
)

KEY = re.compile(r"cpk_[0-9A-Za-z_-]{43}")
DAY = {"startTime": "2024-01-28", "endTime": "2024-01-28"}
UNKNOWN = "id is not a partner key of this operator"


def make(cloud, name="shop", caller="0001", **more):
    answer = cloud.call(create_partner_key, {"adminId": caller, "name": name, **more}, caller=caller)
    assert answer.status == 200
    return answer.body["Result"]


def listed(cloud, admin_id="0001"):
    return cloud.call(get_partner_keys, {"adminId": admin_id}, caller=admin_id).body["Result"]["data"]


def revoke(cloud, key_id):
    return cloud.call(revoke_partner_key, {"adminId": "0001", "id": key_id})


def opens(cloud, key, ids=IDS):
    """Tell whether a key opens an operation for partners."""
    headers = {"X-Partner-Key": key}
    answer = cloud.call(FUNCTIONS["get_chat_history_csv"], {**ids, **DAY}, caller="", headers=headers)
    assert answer.status == 200 or answer == UNAUTHORIZED
    return answer.status == 200


def test_makes_the_documented_key(cloud, account):
    answer = cloud.call(create_partner_key, documented("create_partner_key"))

    made = answer.body["Result"]
    assert KEY.fullmatch(made["key"])
    key_digest = PartnerKeyTable.digest(made["key"])
    expires = "2025-01-27 06:41:29.006"
    assert answer == ok({"id": key_digest[:16], "key": made["key"], "expiresAt": expires})
    assert opens(cloud, made["key"])
    assert listed(cloud) == [
        {
            "id": made["id"],
            "name": "shop",
            "createdAt": "2024-01-28 06:41:29.006",
            "expiresAt": expires,
            "tenants": ["0001"],
        }
    ]
    state = digest({"name": "shop", "digest": key_digest, "expires_at": expires})
    known = {"tenant": "0001", "actor": "0001", "subject": f"partner key {made['id']}"}
    assert audited(cloud, known["subject"]) == [
        {**known, "operation": "create_partner_key", "after": state, "created_at": "2024-01-28T06:41:29.006Z"}
    ]
    assert made["key"] not in json.dumps(cloud.everything(), default=str)


def test_a_key_may_be_good_for_ever(cloud, account):
    for more in ({}, {"expiresInDays": None}):
        assert make(cloud, **more)["expiresAt"] is None
    assert [key["expiresAt"] for key in listed(cloud)] == [None, None]


def test_a_key_expires(cloud, account):
    key = make(cloud, expiresInDays=1)["key"]

    with clock.frozen(NOW + timedelta(days=1, milliseconds=-1)):
        assert opens(cloud, key)
    with clock.frozen(NOW + timedelta(days=1)):
        assert not opens(cloud, key)
        # The operator still sees why it does not work any more.
        assert [one["expiresAt"] for one in listed(cloud)] == ["2024-01-29 06:41:29.006"]


def test_keys_are_changed_without_a_gap(cloud, account):
    old = make(cloud, "old")
    with clock.frozen(NOW + timedelta(minutes=1)):
        new = make(cloud, "new")
    assert [opens(cloud, one["key"]) for one in (old, new)] == [True, True]
    assert [key["name"] for key in listed(cloud)] == ["old", "new"]

    assert revoke(cloud, old["id"]) == ok()

    assert [opens(cloud, one["key"]) for one in (old, new)] == [False, True]
    assert [key["name"] for key in listed(cloud)] == ["new"]
    (_, entry) = sorted(audited(cloud, f"partner key {old['id']}"), key=lambda row: row["operation"])
    assert (entry["operation"], "before" in entry, "after" in entry) == ("revoke_partner_key", True, False)


def test_a_key_opens_its_maker_only(cloud, account, foreign, refuses):
    key = make(cloud, caller="0002")

    assert opens(cloud, key["key"], OTHER_IDS)
    assert not opens(cloud, key["key"])
    assert listed(cloud) == []
    # Neither for another operator, nor another's.
    assert cloud.call(create_partner_key, {"adminId": "0002", "name": "a"}) == UNAUTHORIZED
    assert cloud.call(get_partner_keys, {"adminId": "0002"}) == UNAUTHORIZED
    assert cloud.call(revoke_partner_key, {"adminId": "0002", "id": key["id"]}) == UNAUTHORIZED
    refuses(revoke_partner_key, [({"adminId": "0001", "id": key["id"]}, UNKNOWN)])
    assert opens(cloud, key["key"], OTHER_IDS)


def test_an_operator_has_so_many_keys(cloud, refuses):
    keys = [make(cloud, str(number)) for number in range(20)]
    assert len({key["key"] for key in keys}) == 20

    too_many = "An operator has at most 20 partner keys; revoke one first"
    refuses(create_partner_key, [({"adminId": "0001", "name": "a"}, too_many)])
    make(cloud, caller="0002")
    assert revoke(cloud, keys[7]["id"]) == ok()
    make(cloud)
    assert len(listed(cloud)) == KEYS_LIMIT


def test_refuses(cloud, refuses):
    key = make(cloud)

    def of(**changes):
        return {**documented("create_partner_key"), **changes}

    refuses(
        create_partner_key,
        [
            ({"adminId": "0001"}, "name is required"),
            (of(name=" "), "name must have at least 1 character"),
            (of(name="n" * 101), "name must have at most 100 characters"),
            (of(name=1), "name must be a valid string"),
            (of(expiresInDays=0), "expiresInDays must be greater than or equal to 1"),
            (of(expiresInDays=3651), "expiresInDays must be less than or equal to 3650"),
            (of(expiresInDays="1"), "expiresInDays must be a valid integer"),
            (of(expiresInDays=True), "expiresInDays must be a valid integer"),
            (of(expiresInDays=1.5), "expiresInDays must be a valid integer"),
        ],
    )
    refuses(
        revoke_partner_key,
        [
            ({"adminId": "0001", "id": "x"}, UNKNOWN),
            ({"adminId": "0001", "id": key["id"].upper() + "0"}, UNKNOWN),
            ({"adminId": "0001", "id": ""}, "id must have at least 1 character"),
            ({"adminId": "0001"}, "id is required"),
        ],
    )


def test_a_key_is_revoked_once(cloud, account):
    key = make(cloud)

    def meanwhile(call):
        if call.action == "GetItem":
            aws.observers.remove(meanwhile)
            commit(Delete(PartnerKeyNameTable, PartnerKeyNameTable.key("0001", key["id"])))

    aws.observers.append(meanwhile)

    assert revoke(cloud, key["id"]) == refused("changed by somebody else meanwhile, or already there")
    assert revoke(cloud, key["id"]) == refused(UNKNOWN)
    assert len(audited(cloud, f"partner key {key['id']}")) == 1
