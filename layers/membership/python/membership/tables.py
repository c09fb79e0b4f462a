"""The tables of membership cards. Money is whole cents; ids are the contract's integers."""

from __future__ import annotations

from typing import Any, ClassVar

from pynamodb.attributes import BooleanAttribute, JSONAttribute, TTLAttribute, UnicodeAttribute
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex, KeysOnlyProjection

from kernel.tables import CompressedJson, Table, UtcTime, Version, WholeNumber


class MerchantTable(Table):
    """A merchant, the tenant of everything else; `admin_id` is the account that owns its cards, events and coupons."""

    name: ClassVar[str] = "merchants"
    # All are in one partition.
    KIND: ClassVar[str] = "merchant"
    kind = UnicodeAttribute(hash_key=True, default=KIND)
    id = WholeNumber(range_key=True)
    merchant_name = UnicodeAttribute()
    admin_id = WholeNumber(null=True)
    signed_codes_only = BooleanAttribute(default=False)
    version = Version(null=True)
    created_at = UtcTime(null=True)
    updated_at = UtcTime(null=True)


class _MerchantManagers(GlobalSecondaryIndex[Any]):
    class Meta:
        index_name = "by-merchant"
        projection = AllProjection()

    merchant_id = WholeNumber(hash_key=True)
    id = WholeNumber(range_key=True)


class ManagerTable(Table):
    """An account of a merchant (without `store_id`) or of one of its stores; its password is the user pool's.

    `generation` counts what ends all sessions: another password, other rights, the account's closing.
    """

    name: ClassVar[str] = "managers"
    id = WholeNumber(hash_key=True)
    merchant_id = WholeNumber()
    store_id = WholeNumber(null=True)
    username = UnicodeAttribute()
    active = WholeNumber(default=1)
    generation = WholeNumber(default=1)
    avatar = UnicodeAttribute(null=True)
    real_name = UnicodeAttribute(null=True)
    phone = UnicodeAttribute(null=True)
    id_number = UnicodeAttribute(null=True)
    gender = WholeNumber(null=True)
    email = UnicodeAttribute(null=True)
    qq = UnicodeAttribute(null=True)
    wechat = UnicodeAttribute(null=True)
    menus = JSONAttribute(default=list)
    permissions = JSONAttribute(default=list)
    role_id = WholeNumber(null=True)
    create_admin_id = WholeNumber(null=True)
    update_admin_id = WholeNumber(null=True)
    create_ip = UnicodeAttribute(null=True)
    login_count = WholeNumber(default=0)
    last_login_time = UtcTime(null=True)
    last_login_ip = UnicodeAttribute(null=True)
    version = Version(null=True)
    created_at = UtcTime(null=True)
    updated_at = UtcTime(null=True)
    by_merchant = _MerchantManagers()


class ManagerNameTable(Table):
    """Which account has a user name."""

    name: ClassVar[str] = "manager-names"
    username = UnicodeAttribute(hash_key=True)
    manager_id = WholeNumber()


class SessionTable(Table):
    """A session: only the digest of its token is kept, and it ends some days after its last use."""

    name: ClassVar[str] = "sessions"
    token_digest = UnicodeAttribute(hash_key=True)
    manager_id = WholeNumber()
    generation = WholeNumber()
    client = WholeNumber()
    used_at = UtcTime()
    expires = TTLAttribute()


class SmsCodeTable(Table):
    """The SMS code that a manager was sent last: its keyed digest, and how often it was guessed wrong."""

    name: ClassVar[str] = "sms-codes"
    manager_id = WholeNumber(hash_key=True)
    code_digest = UnicodeAttribute()
    wrong_tries = WholeNumber(default=0)
    expires = TTLAttribute()


class StoreTable(Table):
    """A store of a merchant."""

    name: ClassVar[str] = "stores"
    merchant_id = WholeNumber(hash_key=True)
    id = WholeNumber(range_key=True)
    store_name = UnicodeAttribute()
    address = UnicodeAttribute(null=True)
    phone = UnicodeAttribute(null=True)
    area = UnicodeAttribute(null=True)
    linkman = UnicodeAttribute(null=True)
    admin_id = WholeNumber(null=True)
    active = WholeNumber(default=1)
    version = Version(null=True)
    created_at = UtcTime(null=True)
    updated_at = UtcTime(null=True)


class _ProductIds(GlobalSecondaryIndex[Any]):
    class Meta:
        index_name = "by-id"
        projection = KeysOnlyProjection()

    id = WholeNumber(hash_key=True)


class ProductTable(Table):
    """A membership card as a merchant offers it (`membershipCardId`, `cardId`); customers hold cards of it."""

    name: ClassVar[str] = "products"
    merchant_id = WholeNumber(hash_key=True)
    id = WholeNumber(range_key=True)
    title = UnicodeAttribute()
    colour = UnicodeAttribute(null=True)
    logo = UnicodeAttribute(null=True)
    store_ids = JSONAttribute(default=list)
    event_ids = JSONAttribute(default=list)
    admin_id = WholeNumber()
    type = WholeNumber()
    summary = UnicodeAttribute(null=True)
    detail = UnicodeAttribute(null=True)
    active = WholeNumber(default=1)
    version = Version(null=True)
    created_at = UtcTime(null=True)
    updated_at = UtcTime(null=True)
    by_id = _ProductIds()


class _EventIds(GlobalSecondaryIndex[Any]):
    class Meta:
        index_name = "by-id"
        projection = KeysOnlyProjection()

    id = WholeNumber(hash_key=True)


class EventTable(Table):
    """A recharge promotion of a merchant; `target_id` is the coupon it gives, `quantity` how many pieces."""

    name: ClassVar[str] = "events"
    merchant_id = WholeNumber(hash_key=True)
    id = WholeNumber(range_key=True)
    title = UnicodeAttribute()
    summary = UnicodeAttribute(null=True)
    recharge = WholeNumber()
    gift = WholeNumber()
    target_id = WholeNumber(null=True)
    quantity = WholeNumber(null=True)
    admin_id = WholeNumber()
    type = WholeNumber()
    status = WholeNumber()
    version = Version(null=True)
    created_at = UtcTime(null=True)
    updated_at = UtcTime(null=True)
    by_id = _EventIds()


class _CouponIds(GlobalSecondaryIndex[Any]):
    class Meta:
        index_name = "by-id"
        projection = KeysOnlyProjection()

    id = WholeNumber(hash_key=True)


class CouponTable(Table):
    """A coupon of a merchant, valid until `date`.

    `stock` is how many pieces may be given in all, `per_person` how many one customer may redeem; `given` counts.
    """

    name: ClassVar[str] = "coupons"
    merchant_id = WholeNumber(hash_key=True)
    id = WholeNumber(range_key=True)
    title = UnicodeAttribute()
    summary = UnicodeAttribute(null=True)
    logo = UnicodeAttribute(null=True)
    store_ids = JSONAttribute(default=list)
    admin_id = WholeNumber()
    type = WholeNumber(default=1)
    status = WholeNumber(default=1)
    date = UtcTime(null=True)
    stock = WholeNumber(null=True)
    given = WholeNumber(default=0)
    per_person = WholeNumber(null=True)
    version = Version(null=True)
    created_at = UtcTime(null=True)
    updated_at = UtcTime(null=True)
    by_id = _CouponIds()


class _CustomerIds(GlobalSecondaryIndex[Any]):
    class Meta:
        index_name = "by-user"
        projection = AllProjection()

    user_id = WholeNumber(hash_key=True)


class CustomerTable(Table):
    """A customer of one merchant, known by his phone number."""

    name: ClassVar[str] = "customers"
    merchant_id = WholeNumber(hash_key=True)
    phone = UnicodeAttribute(range_key=True)
    user_id = WholeNumber()
    nickname = UnicodeAttribute(null=True)
    avatar = UnicodeAttribute(null=True)
    listed = BooleanAttribute(default=False)
    created_at = UtcTime(null=True)
    updated_at = UtcTime(null=True)
    by_user = _CustomerIds()


def owner_key(merchant_id: int, phone: str) -> str:
    """Return the key under which a customer's cards are kept: money operations know his phone number only."""
    return f"{merchant_id}#{phone}"


class _CardIds(GlobalSecondaryIndex[Any]):
    class Meta:
        index_name = "by-id"
        projection = AllProjection()

    id = WholeNumber(hash_key=True)


class _CardNumbers(GlobalSecondaryIndex[Any]):
    class Meta:
        index_name = "by-number"
        projection = AllProjection()

    card_no = WholeNumber(hash_key=True)


class _MerchantCards(GlobalSecondaryIndex[Any]):
    class Meta:
        index_name = "by-merchant"
        projection = AllProjection()

    merchant_id = WholeNumber(hash_key=True)
    id = WholeNumber(range_key=True)


class CardTable(Table):
    """A customer's card and its balances, all in cents; every one is the sum of the card's entries.

    `charged` is what was paid in and not paid back, `invoiced` what invoices were written for, `invoiceable` the rest.
    `entries` counts the card's entries, `layout` the times that money came back to its lots, `lots_open` the lots that
    hold money.
    """

    name: ClassVar[str] = "cards"
    owner = UnicodeAttribute(hash_key=True)
    product_id = WholeNumber(range_key=True)
    id = WholeNumber()
    card_no = WholeNumber()
    merchant_id = WholeNumber()
    user_id = WholeNumber()
    phone = UnicodeAttribute()
    type = WholeNumber()
    password_hash = UnicodeAttribute()
    principal = WholeNumber(default=0)
    gift = WholeNumber(default=0)
    charged = WholeNumber(default=0)
    invoiced = WholeNumber(default=0)
    invoiceable = WholeNumber(default=0)
    entries = WholeNumber(default=0)
    layout = WholeNumber(default=0)
    lots_open = WholeNumber(default=0)
    store_id = WholeNumber(null=True)
    store_name = UnicodeAttribute(null=True)
    grade = UnicodeAttribute(null=True)
    summary_grade = UnicodeAttribute(null=True)
    created_at = UtcTime(null=True)
    by_id = _CardIds()
    by_number = _CardNumbers()
    by_merchant = _MerchantCards()


class _LotIds(GlobalSecondaryIndex[Any]):
    class Meta:
        index_name = "by-id"
        projection = AllProjection()

    id = WholeNumber(hash_key=True)


def open_lots(card_id: int) -> str:
    """Return the key of a card's lots that hold money."""
    return f"{card_id}#open"


def finished_lots(card_id: int) -> str:
    """Return the key of a card's lots that are used up, cashed back or taken back."""
    return f"{card_id}#finished"


class LotTable(Table):
    """What an event recharge of an activity card brought, the contract's usage record (`storeMemberEventId`).

    Lots that hold money stand apart from the finished ones, so that a payment reads only those it may take from.
    """

    name: ClassVar[str] = "lots"
    place = UnicodeAttribute(hash_key=True)
    id = WholeNumber(range_key=True)
    card_id = WholeNumber()
    merchant_id = WholeNumber()
    owner = UnicodeAttribute()
    product_id = WholeNumber()
    event_id = WholeNumber()
    order_no = WholeNumber()
    brought_principal = WholeNumber()
    brought_gift = WholeNumber()
    principal = WholeNumber()
    gift = WholeNumber()
    status = WholeNumber()
    created_at = UtcTime(null=True)
    by_id = _LotIds()


class _DayEntries(GlobalSecondaryIndex[Any]):
    class Meta:
        index_name = "by-day"
        projection = AllProjection()

    merchant_day = UnicodeAttribute(hash_key=True)
    entry_id = UnicodeAttribute(range_key=True)


class EntryTable(Table):
    """An entry of the ledger: never changed, never removed. `moves` are [from, to, cents or pieces].

    `subject` is `card#8` or `holding#1`; `digest` is over everything else (`ledger.digest_of`).
    """

    name: ClassVar[str] = "entries"
    subject = UnicodeAttribute(hash_key=True)
    entry_id = UnicodeAttribute(range_key=True)
    merchant_day = UnicodeAttribute()
    merchant_id = WholeNumber()
    kind = UnicodeAttribute()
    moves = JSONAttribute()
    order_no = WholeNumber(null=True)
    reference = WholeNumber(null=True)
    manager_id = WholeNumber()
    store_id = WholeNumber(null=True)
    user_id = WholeNumber()
    at = UtcTime()
    digest = UnicodeAttribute()
    by_day = _DayEntries()


class OrderTable(Table):
    """A recharge or an expense by its order number, with what of it was given back so far.

    `parts` are [lot id, principal, gift] in the order they were taken or brought; lot 0 is the card itself.
    """

    name: ClassVar[str] = "orders"
    order_no = WholeNumber(hash_key=True)
    kind = UnicodeAttribute()
    merchant_id = WholeNumber()
    store_id = WholeNumber(null=True)
    store_name = UnicodeAttribute(null=True)
    owner = UnicodeAttribute()
    product_id = WholeNumber()
    card_id = WholeNumber()
    user_id = WholeNumber()
    principal = WholeNumber()
    gift = WholeNumber()
    returned_principal = WholeNumber(default=0)
    returned_gift = WholeNumber(default=0)
    parts = CompressedJson()
    coupon_id = WholeNumber(null=True)
    coupon_pieces = WholeNumber(null=True)
    created_at = UtcTime(null=True)


class RepeatTable(Table):
    """A money operation that was done, so that its repetition answers the same."""

    name: ClassVar[str] = "repeats"
    claim = UnicodeAttribute(hash_key=True)
    fingerprint = UnicodeAttribute()
    answer = JSONAttribute()
    at = UtcTime()
    expires = TTLAttribute()


class ShiftTable(Table):
    """What one manager did at one store on one day (in Shanghai), in cents and counts; `shift` is `12#3#20191220`."""

    name: ClassVar[str] = "shifts"
    shift = UnicodeAttribute(hash_key=True)
    manager_id = WholeNumber(range_key=True)
    merchant_id = WholeNumber()
    recharged = WholeNumber(default=0)
    gifted = WholeNumber(default=0)
    spent = WholeNumber(default=0)
    spending_returned = WholeNumber(default=0)
    recharge_returned = WholeNumber(default=0)
    gift_withdrawn = WholeNumber(default=0)
    cashed_back = WholeNumber(default=0)
    invoiced = WholeNumber(default=0)
    coupons_given = WholeNumber(default=0)
    coupons_redeemed = WholeNumber(default=0)
    coupons_withdrawn = WholeNumber(default=0)
    operations = WholeNumber(default=0)


class _HoldingNumbers(GlobalSecondaryIndex[Any]):
    class Meta:
        index_name = "by-number"
        projection = AllProjection()

    num = WholeNumber(hash_key=True)


class _MerchantHoldings(GlobalSecondaryIndex[Any]):
    class Meta:
        index_name = "by-merchant"
        projection = AllProjection()

    merchant_id = WholeNumber(hash_key=True)
    num = WholeNumber(range_key=True)


class HoldingTable(Table):
    """A customer's pieces of a coupon (`num`): `quantity` are left of `given`, less `redeemed` and `withdrawn`."""

    name: ClassVar[str] = "holdings"
    user_id = WholeNumber(hash_key=True)
    coupon_id = WholeNumber(range_key=True)
    num = WholeNumber()
    merchant_id = WholeNumber()
    quantity = WholeNumber()
    given = WholeNumber()
    redeemed = WholeNumber(default=0)
    withdrawn = WholeNumber(default=0)
    entries = WholeNumber(default=0)
    created_at = UtcTime(null=True)
    by_number = _HoldingNumbers()
    by_merchant = _MerchantHoldings()


class CouponUseTable(Table):
    """A redemption with the snapshot of the holding as it was before (6.2)."""

    name: ClassVar[str] = "coupon-uses"
    num = WholeNumber(hash_key=True)
    use_id = UnicodeAttribute(range_key=True)
    store_id = WholeNumber()
    manager_id = WholeNumber()
    detail = UnicodeAttribute()
    created_at = UtcTime(null=True)


class InvoiceTable(Table):
    """An invoice that was issued for a customer's card, in cents."""

    name: ClassVar[str] = "invoices"
    card_id = WholeNumber(hash_key=True)
    id = WholeNumber(range_key=True)
    amount = WholeNumber()
    summary = UnicodeAttribute()
    image = UnicodeAttribute(null=True)
    store_id = WholeNumber(null=True)
    store_name = UnicodeAttribute(null=True)
    created_at = UtcTime(null=True)


class ProofTable(Table):
    """A proof of a merchant's books: how far it is, what it counted, and what it found; `step` counts its savings.

    A `thorough` one compares every sealed day with its entries, others a part of them. `unproven` is what changed too
    often to be compared.
    """

    name: ClassVar[str] = "proofs"
    merchant_id = WholeNumber(hash_key=True)
    proof_id = UnicodeAttribute(range_key=True)
    state = UnicodeAttribute()
    phase = UnicodeAttribute()
    cursor = JSONAttribute(null=True)
    counts = JSONAttribute(default=dict)
    accounts = JSONAttribute(default=dict)
    findings = JSONAttribute(default=list)
    found = WholeNumber(default=0)
    unproven = JSONAttribute(default=list)
    step = WholeNumber(default=0)
    thorough = BooleanAttribute()
    started_at = UtcTime()
    ended_at = UtcTime(null=True)


class ProofTurnTable(Table):
    """Which proof of a merchant is running, one at a time, and when it was saved last; and the newest seal.

    The day and the root of the newest seal are written with it, so that it is missed when somebody takes it away.
    """

    name: ClassVar[str] = "proof-turns"
    merchant_id = WholeNumber(hash_key=True)
    proof_id = UnicodeAttribute(null=True)
    saved_at = UtcTime(null=True)
    sealed_day = UnicodeAttribute(null=True)
    sealed_root = UnicodeAttribute(null=True)


class SealTable(Table):
    """The seal of a finished day (`20191220`) of a merchant's ledger, chained to the day before by its root.

    `leaves` is the digest of the file that lists the day's entries, `totals` what each account gained that day, and
    `findings` the digest of what was wrong with it already, if anything was.
    """

    name: ClassVar[str] = "seals"
    merchant_id = WholeNumber(hash_key=True)
    day = UnicodeAttribute(range_key=True)
    previous = UnicodeAttribute()
    root = UnicodeAttribute()
    leaves = UnicodeAttribute()
    entries = WholeNumber()
    totals = JSONAttribute()
    findings = UnicodeAttribute(null=True)
    sealed_at = UtcTime()
    signature = UnicodeAttribute()


class _MerchantClosings(GlobalSecondaryIndex[Any]):
    class Meta:
        index_name = "by-merchant"
        projection = AllProjection()

    merchant_id = WholeNumber(hash_key=True)
    place = UnicodeAttribute(range_key=True)


def closing_book(merchant_id: int, store_id: int | None) -> str:
    """Return the key of a store's closings; 0 stands for a merchant's own accounts."""
    return f"{merchant_id}#{store_id or 0}"


class ClosingTable(Table):
    """A manager's closing of a day at his store, in cents; a second one corrects the first and leaves it as it is.

    `place` is the day (`20191220`) and an id in the order of time; `figures` are what the shift said at that moment.
    """

    name: ClassVar[str] = "closings"
    book = UnicodeAttribute(hash_key=True)
    place = UnicodeAttribute(range_key=True)
    merchant_id = WholeNumber()
    store_id = WholeNumber(null=True)
    store_name = UnicodeAttribute(null=True)
    manager_id = WholeNumber()
    expected = WholeNumber()
    counted = WholeNumber()
    figures = JSONAttribute()
    created_at = UtcTime(null=True)
    by_merchant = _MerchantClosings()


class ExportTable(Table):
    """A list that is written into a file: what was asked for (`order`), the rows so far, and why it failed."""

    name: ClassVar[str] = "exports"
    merchant_id = WholeNumber(hash_key=True)
    export_id = UnicodeAttribute(range_key=True)
    order = JSONAttribute()
    path = UnicodeAttribute()
    state = UnicodeAttribute()
    rows = WholeNumber(default=0)
    reason = UnicodeAttribute(null=True)
    created_at = UtcTime(null=True)
    expires = TTLAttribute()
