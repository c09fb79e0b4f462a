"""Operators sign in with the name and password of the user pool."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints

from chatbot.api import AdminRequest


class Credentials(AdminRequest):
    """Sign-in name and password of an operator."""

    password: Annotated[str, StringConstraints(min_length=1, max_length=256)] = Field(repr=False)


class TokensView(BaseModel):
    """Tokens of the user pool; `id_token` opens every other operation for `expires_in` seconds."""

    id_token: str
    refresh_token: str
    access_token: str
    expires_in: int
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105  the documented word
