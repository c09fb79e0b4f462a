from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from chatbot.api import AccountRequest, View, api


class CheckTest(AccountRequest):
    """A check of the service; the content of `int` is ignored."""

    ignored: Annotated[str, BeforeValidator(lambda value: str(value) if isinstance(value, int | float) else value)] = (
        Field(alias="int")
    )


class CheckView(View):
    """The fixed text of a working service."""

    result: Literal["Check Test OK"] = "Check Test OK"


@api.post("/getCheckTest")
def get_check_test(request: CheckTest) -> CheckView:
    """Tell that the service works."""
    return CheckView()
