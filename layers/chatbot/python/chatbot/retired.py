"""Operations whose meaning is forgotten: their routes stay, so that a forgotten caller is told."""

from __future__ import annotations

from typing import Any, NoReturn

from chatbot.api import AdminRequest
from kernel.errors import Invalid


class RetiredRequest(AdminRequest):
    """Whatever a caller still sends; nobody knows the fields any more, so none of them is looked at."""

    @classmethod
    def model_validate(cls, *_: Any, **__: Any) -> NoReturn:
        """Refuse any form."""
        raise Invalid("operation retired")

    @classmethod
    def model_validate_json(cls, *_: Any, **__: Any) -> NoReturn:
        """Refuse any body, be it JSON or not."""
        raise Invalid("operation retired")
