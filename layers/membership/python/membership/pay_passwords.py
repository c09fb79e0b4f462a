"""Pay passwords of cards: MD5 digests on the wire, kept only as a salted slow hash (contract, X8)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from datetime import timedelta
from typing import TYPE_CHECKING

from kernel import rates
from kernel.rates import RateTable
from membership.faults import Refused, Throttled, throttled
from membership.postings import Step

if TYPE_CHECKING:
    from kernel.tables import Item
    from membership.tables import CardTable

# OWASP's Password Storage Cheat Sheet asks for p = 5 with this cost; one it is here because every payment pays for it
# while the customer waits. Six digits are few for any hash, so against guessing it is the lock that protects, and who
# gets hold of the hashes is only slowed down. The numbers stand in each hash, so that they may grow.
_COST, _BLOCK, _PARALLEL = 2**14, 8, 1
_TRIES = 5
_WINDOW = timedelta(minutes=15)
_WHAT = "pay-password"
_TOO_OFTEN = "密码错误次数过多，请稍后再试"


def default_digest(phone: str) -> str:
    """Return the MD5 of the last six digits of a phone number, the password of a card opened without one (M3.3)."""
    return hashlib.md5(phone[-6:].encode(), usedforsecurity=False).hexdigest()


def hashed(digest: str) -> str:
    """Return what is kept of a password's MD5: `scrypt$cost$block$parallel$salt$hash`."""
    salt = os.urandom(16)
    made = _scrypt(digest, salt, _COST, _BLOCK, _PARALLEL)
    texts = (base64.b64encode(part).decode() for part in (salt, made))
    return "$".join(("scrypt", str(_COST), str(_BLOCK), str(_PARALLEL), *texts))


class Presented:
    """A password's MD5 as a request brings it; however often the request is planned, it is hashed once."""

    def __init__(self, digest: str) -> None:
        self._digest = digest
        self._compared: dict[str, bool] = {}

    def fits(self, kept: str) -> bool:
        """Tell whether it is the one that was hashed."""
        if kept not in self._compared:
            self._compared[kept] = fits(kept, self._digest)
        return self._compared[kept]


def wrong_tries(owner: str, product_id: int) -> tuple[type[RateTable], Item]:
    """Return where a card's wrong passwords are counted, to be read together with the card for `check`."""
    return RateTable, rates.row_key(_WHAT, _who(owner, product_id))


def check(card: CardTable, password: Presented, wrong: RateTable | None) -> Step:
    """Refuse a wrong password; return the step that a right one adds to its payment.

    After five wrong ones in 15 minutes the card takes none for the rest of them, and nothing is hashed. The step
    decides that once more when the payment is written, so that guesses made at the same time win nothing, and forgets
    the wrong ones before.
    """
    if rates.reached(wrong, limit=_TRIES):
        raise Throttled(_TOO_OFTEN)
    who = _who(card.owner, card.product_id)
    if not password.fits(card.password_hash):
        with throttled(_TOO_OFTEN):
            rates.count(_WHAT, who, limit=_TRIES, window=_WINDOW)
        raise Refused("密码错误")
    return Step(rates.cleared(_WHAT, who, limit=_TRIES), Throttled(_TOO_OFTEN))


def unlock(card: CardTable) -> None:
    """Forget the wrong passwords of a card that gets another one."""
    rates.forget(_WHAT, _who(card.owner, card.product_id))


def fits(kept: str, digest: str) -> bool:
    """Tell whether a password's MD5 is the one that was hashed."""
    _, cost, block, parallel, salt, made = kept.split("$")
    again = _scrypt(digest, base64.b64decode(salt), int(cost), int(block), int(parallel))
    return hmac.compare_digest(again, base64.b64decode(made))


def _who(owner: str, product_id: int) -> str:
    return f"{owner}#{product_id}"


def _scrypt(digest: str, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    # Upper and lower case are the same digest.
    return hashlib.scrypt(digest.lower().encode(), salt=salt, n=cost, r=block, p=parallel, dklen=32)
