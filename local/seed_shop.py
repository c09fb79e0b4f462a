"""Fills a freshly deployed local stack with a demo merchant, as its back office would; what is there stays."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from local.cloud import Cloud
from local.deployment import STAGE, System
from local.seed import add_operator, new_password, write_json
from local.shop_caller import Office
from local.sms_simulator import KEY, KEY_ID

NAME = "membership"
PLATFORM = "platform"
SMS_ACCOUNT = {
    "accessKeyId": KEY_ID,
    "accessKeySecret": KEY,
    "signName": "礼遇圈",
    "templateCode": "SMS_LOCAL",
}


@dataclass(frozen=True)
class SignIn:
    """A user name and its password."""

    username: str
    password: str


@dataclass(frozen=True)
class Shop:
    """The demo merchant: who signs in where, and the ids of what it has."""

    merchant: int
    store: int
    stored_value: int
    activity: int
    event: int
    coupon_event: int
    coupon: int
    operator: SignIn
    owner: SignIn
    cashier: SignIn
    cashier_phone: str
    owner_phone: str
    sms: str

    @classmethod
    def of(cls, kept: dict[str, Any]) -> Shop:
        """Return the shop that `asdict` wrote."""
        people = {name: SignIn(**kept[name]) for name in ("operator", "owner", "cashier")}
        return cls(**{**kept, **people})


def seed_shop(
    cloud: Cloud, system: System, base: str, kept: Path, show: Callable[[str], None] = lambda detail: None
) -> Shop:
    """Bring the demo merchant into the membership system and write its sign-ins to `kept`; safe to repeat."""
    known: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    # Written before it is used: an operator whose password nobody knows would lock the shop out.
    operator = known.get(f"{NAME}Operator") or asdict(SignIn("office", new_password()))
    write_json(kept, {**known, f"{NAME}Operator": operator})
    show("operator")
    _add_platform_operator(cloud, system, SignIn(**operator))
    _set_sms_account(cloud)
    if NAME in known:
        return Shop.of(known[NAME])
    show("shop")
    office = Office(base)
    office.sign_in(operator["username"], operator["password"])
    shop = _open_shop(office, SignIn(**operator), cloud.sms_url)
    write_json(kept, {**json.loads(kept.read_text()), NAME: asdict(shop)})
    return shop


def _add_platform_operator(cloud: Cloud, system: System, operator: SignIn) -> None:
    add_operator(cloud, system, operator.username, operator.password)
    cognito = cloud.cognito()
    with suppress(cognito.exceptions.GroupExistsException):
        cognito.create_group(UserPoolId=system.pool_id, GroupName=PLATFORM)
    cognito.admin_add_user_to_group(UserPoolId=system.pool_id, Username=operator.username, GroupName=PLATFORM)


def _set_sms_account(cloud: Cloud) -> None:
    name = f"citypass-{STAGE}-{NAME}-sms"
    cloud.secrets().put_secret_value(SecretId=name, SecretString=json.dumps(SMS_ACCOUNT, ensure_ascii=False))


def _open_shop(office: Office, operator: SignIn, sms: str) -> Shop:
    def make(what: str, **fields: Any) -> int:
        made: int = office.data("POST", f"merchants/{merchant}/{what}", **fields)["id"]
        return made

    # Another attempt at seeding makes another merchant; its accounts need names of their own.
    mark = secrets.token_hex(2)
    merchant: int = office.data("POST", "merchants", name="外婆味道")["id"]
    cashier, owner = SignIn(f"cashier-{mark}", new_password()), SignIn(f"owner-{mark}", new_password())
    phone, owner_phone = "13900000021", "13900000019"
    # The first account of the whole merchant owns what is offered.
    make("accounts", **asdict(owner), role="merchant", realName="老板", phone=owner_phone)
    store = make(
        "stores",
        name="外婆味道南屏店",
        address="南屏街",
        phone="087163100000",
        area="云南,昆明市,五华区",
        linkman="小明",
    )
    other = make("stores", name="外婆味道吾悦店", address="吾悦广场", area="云南,昆明市,西山区", linkman="吴家")
    coupon = make(
        "coupons",
        title="50 元优惠券",
        summary="满 100 元可用",
        storeIds=[store, other],
        date="2030-12-31 00:00:00",
        perPerson=20,
    )
    event = make(
        "events", title="充200 送200 返200", summary="活动卡专享", rechargeMoney=200, sendMoney=200, type=1, status=10
    )
    coupon_event = make(
        "events",
        title="充100 送2 张50元优惠券",
        summary="送优惠券",
        rechargeMoney=100,
        sendMoney=0,
        type=2,
        status=1,
        targetId=coupon,
        quantity=2,
    )
    stored_value = make(
        "products",
        title="外婆味道储值卡",
        colour="#34988E",
        type=10,
        storeIds=[store, other],
        eventIds=[coupon_event],
        summary="储值卡",
    )
    activity = make(
        "products",
        title="外婆味道活动卡",
        colour="#E43B19",
        type=11,
        storeIds=[store, other],
        eventIds=[event, coupon_event],
        summary="<p>活动卡</p>",
    )
    make("accounts", **asdict(cashier), role="store", storeId=store, realName="小红", phone=phone)
    return Shop(
        merchant=merchant,
        store=store,
        stored_value=stored_value,
        activity=activity,
        event=event,
        coupon_event=coupon_event,
        coupon=coupon,
        operator=operator,
        owner=owner,
        cashier=cashier,
        cashier_phone=phone,
        owner_phone=owner_phone,
        sms=sms,
    )
