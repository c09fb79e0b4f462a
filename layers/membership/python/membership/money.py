"""Money: whole cents inside, yuan with two decimals outside; never a binary float in between (contract, money)."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

# A noncharacter of Unicode: texts that come in are freed of it, so nothing but an amount can begin with it.
MARK = "\ufdd0"
LARGEST = 10**11
_YUAN = re.compile(r"-?[0-9]{1,10}(\.[0-9]{1,2})?\Z")
_MARKED = re.compile(f'"{MARK}(-?[0-9]+\\.[0-9]{{2}})"')


def cents_of(amount: Any) -> int:
    """Return the cents of an amount in yuan, a JSON number or a decimal text with at most two decimals."""
    if isinstance(amount, bool) or not isinstance(amount, str | int | float | Decimal):
        raise ValueError("is no amount")
    text = str(amount).strip()
    # A number such as 200.000 is 200.0 as soon as JSON is read; one that needs an exponent is no price.
    if not _YUAN.match(text):
        raise ValueError("must be an amount in yuan with at most two decimals")
    cents = int(Decimal(text) * 100)
    if cents > LARGEST:
        raise ValueError(f"must be at most {yuan(LARGEST)}")
    return cents


def yuan(cents: int) -> str:
    """Return cents as yuan with two decimals: 20000 is `200.00`."""
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100}.{abs(cents) % 100:02d}"


def with_amounts(text: str) -> str:
    """Return JSON text with its amounts as numbers of two decimals, which no JSON library writes by itself."""
    return _MARKED.sub(r"\1", text)


# Cents of an amount that comes in, and that comes in and is more than nothing.
Amount = Annotated[int, BeforeValidator(cents_of), Field(ge=0), WithJsonSchema({"type": "number"})]
PositiveAmount = Annotated[int, BeforeValidator(cents_of), Field(gt=0), WithJsonSchema({"type": "number"})]
# Cents that go out.
Money = Annotated[
    int, PlainSerializer(lambda cents: f"{MARK}{yuan(cents)}", return_type=str), WithJsonSchema({"type": "number"})
]
