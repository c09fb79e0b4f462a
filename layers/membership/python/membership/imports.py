"""What may be imported: customers, and their cards with what is on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from kernel import clock, imports
from kernel.errors import Conflict
from kernel.imports import ImportTable, Kind, Problem
from kernel.tables import ConditionFailed, commit, create, existing_keys, fetch
from membership import catalogue, listings, numbers, pay_passwords
from membership import ledger as books
from membership.api import Body, Digest, Id, Phone, View, Whole, iso_utc
from membership.back_office import Fields, Line, Moment, Name
from membership.cards import ACTIVITY
from membership.ledger import Account, Part, card_subject, entry
from membership.managers import Manager
from membership.money import Amount
from membership.tables import CardTable, CustomerTable, ProductTable, owner_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernel.imports import Source
    from kernel.tables import Put

_ATTEMPTS = 3


class NewImport(Fields):
    """A CSV file with `size` bytes: UTF-8, the names of the columns in the first line.

    customers: phone, nickname, avatar; cards: phone, nickname, cardId, principal, gift, password, openedAt.
    """

    kind: Literal["customers", "cards"]
    size: Annotated[Whole, Field(ge=1, le=imports.LARGEST)]


class ImportState(Fields):
    """What is to be done: `checked` looks through the file, `confirmed` applies what was found good."""

    state: Literal["checked", "confirmed"]


class LineError(View):
    """Why a line is not applied; line 0 is the file as a whole."""

    line: int
    message: str


class ImportView(View):
    """An import: so many lines are good, existing or wrong; of the good ones so many are applied or, late, refused."""

    id: int
    kind: str
    state: str
    lines: int
    good: int
    existing: int
    wrong: int
    applied: int
    refused: int
    errors: list[LineError]
    error_link: str | None
    created: str
    updated: str


class Begun(View):
    """An import whose file is waited for: PUT it to the link, with exactly the bytes that were said."""

    id: int
    state: str
    upload_link: str


class CustomerLine(Body):
    """A customer."""

    phone: Phone
    nickname: Name | None = None
    avatar: Line | None = None


class CardLine(Body):
    """A card that is opened for a customer, who is made when he is not known; money on it is carried over."""

    phone: Phone
    nickname: Name | None = None
    card_id: Id
    principal: Amount = 0
    gift: Amount = 0
    password: Digest | None = Field(default=None, repr=False)
    opened_at: Moment | None = None


def begin(merchant_id: int, new: NewImport) -> Begun:
    """Make an import and return the link for its file."""
    row, link = imports.begin(str(merchant_id), new.kind, new.size)
    return Begun(id=row.id, state=row.state, upload_link=link)


def shown(merchant_id: int, number: int) -> ImportView:
    """Return how far an import is."""
    return _view(imports.found(str(merchant_id), number))


def advance(merchant_id: int, number: int, wanted: ImportState) -> ImportView:
    """Have the file looked through, or what was found good applied."""
    return _view(imports.advance(str(merchant_id), number, wanted.state))


def _view(row: ImportTable) -> ImportView:
    return ImportView(
        id=row.id,
        kind=row.kind,
        state=row.state,
        lines=row.lines,
        good=row.good,
        existing=row.existing,
        wrong=row.wrong,
        applied=row.applied,
        refused=row.refused,
        errors=[LineError(line=line, message=message) for line, message in row.errors],
        error_link=imports.error_link(row),
        created=iso_utc(row.created_at),
        updated=iso_utc(row.updated_at),
    )


def _customer_key(merchant_id: int, line: CustomerLine | CardLine) -> Any:
    return CustomerTable.key(merchant_id, line.phone)


def _card_key(merchant_id: int, line: CardLine) -> Any:
    return CardTable.key(owner_key(merchant_id, line.phone), line.card_id)


def _examine_customers(source: Source, lines: Sequence[CustomerLine]) -> list[Problem | None]:
    keys = [_customer_key(int(source.tenant), line) for line in lines]
    there = existing_keys(CustomerTable, keys)
    return [Problem("the customer is there already", existing=True) if key in there else None for key in keys]


def _add_customer(source: Source, line: CustomerLine, claim: Put) -> None:
    row = CustomerTable(merchant_id=int(source.tenant), user_id=numbers.next_id("users"), **line.model_dump())
    try:
        commit(claim, create(row))
    except ConditionFailed:
        raise Conflict("the customer is there already") from None


def _examine_cards(source: Source, lines: Sequence[CardLine]) -> list[Problem | None]:
    merchant_id = int(source.tenant)
    products = catalogue.some(ProductTable, merchant_id, [line.card_id for line in lines])
    keys = [_card_key(merchant_id, line) for line in lines]
    there = existing_keys(CardTable, keys)
    return [
        Problem("the customer has the card already", existing=True)
        if key in there
        else _card_problem(products.get(line.card_id), line)
        for key, line in zip(keys, lines, strict=True)
    ]


def _card_problem(product: ProductTable | None, line: CardLine) -> Problem | None:
    if product is None:
        return Problem("cardId names no card of the merchant")
    if product.active != catalogue.ACTIVE:
        return Problem("the card is not offered any more")
    if product.type == ACTIVITY and (line.principal or line.gift):
        # Their money is in lots, each of a recharge under an event.
        return Problem("an activity card takes no amounts")
    if line.opened_at is not None and line.opened_at > clock.now():
        return Problem("openedAt lies in the future")
    return None


def _open_card(source: Source, line: CardLine, claim: Put) -> None:
    """Open a card in the name of the account that owns it, with one entry that brings what is on it."""
    merchant_id = int(source.tenant)
    hashed = pay_passwords.hashed(line.password or pay_passwords.default_digest(line.phone))
    for _ in range(_ATTEMPTS):
        product, customer, card = fetch(
            (ProductTable, ProductTable.key(merchant_id, line.card_id)),
            (CustomerTable, _customer_key(merchant_id, line)),
            (CardTable, _card_key(merchant_id, line)),
        )
        if card is not None:
            raise Conflict("the customer has the card already")
        if problem := _card_problem(product, line):
            raise Conflict(problem.message)
        made = customer is None
        if made:
            customer = CustomerTable(
                merchant_id=merchant_id,
                phone=line.phone,
                nickname=line.nickname,
                user_id=numbers.next_id("users"),
            )
        card = _card(line, product, customer, hashed)
        first = listings.customer_listed(customer, clock.now(), made=made) if made or not customer.listed else []
        try:
            commit(claim, create(card), *first, _brought(source, product, card))
        except ConditionFailed:
            # Somebody made the customer or his card meanwhile.
            continue
        return
    raise Conflict("the customer is changed by somebody else all the time")


def _card(line: CardLine, product: ProductTable, customer: CustomerTable, hashed: str) -> CardTable:
    now = clock.now()
    return CardTable(
        owner=owner_key(product.merchant_id, line.phone),
        product_id=product.id,
        id=numbers.next_id("cards"),
        card_no=numbers.card_no(now),
        merchant_id=product.merchant_id,
        user_id=customer.user_id,
        phone=line.phone,
        type=product.type,
        password_hash=hashed,
        principal=line.principal,
        gift=line.gift,
        entries=1,
        created_at=line.opened_at or now,
    )


def _brought(source: Source, product: ProductTable, card: CardTable) -> Put:
    """Return the entry of an imported card; what it brings was paid elsewhere, so no invoice is written for it."""
    owner = Manager(str(product.admin_id), product.admin_id, product.merchant_id, None, "")
    part = Part(0, card.principal, card.gift)
    moves = books.into_card([part], Account.CARRIED_OVER, Account.CARRIED_OVER)
    return entry(
        owner,
        books.Kind.CARRY_OVER,
        card_subject(card.id),
        moves,
        at=clock.now(),
        user_id=card.user_id,
        reference=source.id,
    )


def _money(line: CardLine) -> dict[str, int]:
    return {"principal": line.principal, "gift": line.gift}


KINDS = {
    "customers": Kind(CustomerLine, lambda line: line.phone, _examine_customers, _add_customer),
    "cards": Kind(CardLine, lambda line: (line.phone, line.card_id), _examine_cards, _open_card, _money),
}
