"""Signing in to the back office."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from kernel import sign_in
from kernel.errors import Unauthorized
from membership import managers
from membership.api import View
from membership.back_office import Fields


class Credentials(Fields):
    """The name and the password of one of the back office, in plain text."""

    username: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    password: Annotated[str, StringConstraints(min_length=1, max_length=256)] = Field(repr=False)


class Tokens(View):
    """What opens the back office: `idToken` as `Authorization: Bearer …`, for so many seconds."""

    id_token: str = Field(repr=False)
    refresh_token: str = Field(repr=False)
    expires_in: int


def tokens(given: Credentials, address: str) -> Tokens:
    """Check a password and return the tokens; failures count per name and address."""
    if managers.named_in_pool(given.username):
        # Managers have a door of their own; counted here, their passwords could be guessed from many addresses.
        raise Unauthorized
    found = sign_in.sign_in(given.username, given.password, address)
    # Without Cognito's access token, which would let its holder change the user past our checks.
    return Tokens(id_token=found.id_token, refresh_token=found.refresh_token, expires_in=found.expires_in)
