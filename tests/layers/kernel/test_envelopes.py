"""The JSON of answers."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import BaseModel, Field
from pydantic_core import PydanticSerializationError

from kernel.envelopes import Response, json_text
from kernel.secrets import Secret


class Named(BaseModel):
    name: str = Field(alias="theName")
    more: list[int] = []


def test_json_is_short_and_says_chinese_as_it_is():
    value = {"名": "測試 👪", "n": [1, 2.5, None, True], "at": datetime(2024, 1, 28, tzinfo=UTC)}

    assert json_text(value) == '{"名":"測試 👪","n":[1,2.5,null,true],"at":"2024-01-28T00:00:00Z"}'


def test_models_are_written_in_the_contract_s_spelling_wherever_they_are():
    assert json_text([{"one": Named(theName="a")}]) == '[{"one":{"theName":"a","more":[]}}]'


def test_a_secret_is_never_written():
    with pytest.raises(PydanticSerializationError, match="Unable to serialize unknown type"):
        json_text({"token": Secret("the-token")})


def test_a_response_is_json_unless_it_says_otherwise():
    assert Response(200, "{}").content_type == "application/json; charset=utf-8"
