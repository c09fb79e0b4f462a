"""What a turn asks beyond its conversation: segments, URLs of conditions, the external service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatbot.engine import ExternalAnswer
from chatbot.tables import AccountTable, account_key
from kernel import ids
from kernel.channels.faults import TryLater

if TYPE_CHECKING:
    from collections.abc import Callable

    from chatbot.conditions import Subject
    from chatbot.external import CrosError


# Each may take five seconds, and the worker has two minutes for the turn; somebody who waits has less.
CALLS_A_TURN = 8
HASTY_CALLS = 2


class Outside:
    """The world around one turn of one user; `errors` are what the external service complained of."""

    def __init__(
        self,
        account: AccountTable,
        user_id: str,
        event_id: str,
        names: Callable[[], list[str]],
        *,
        hasty: bool = False,
    ) -> None:
        """Look out from a turn; `names` tells which variables the user has.

        `hasty` is for somebody who waits for an answer: a turn of more than two calls raises TryLater.
        """
        self._account = account
        self._user_id = user_id
        self._event_id = event_id
        self._names = names
        self._hasty = hasty
        self._calls = 0
        self.errors: list[CrosError] = []

    def in_segment(self, segment: str, subject: Subject) -> bool:
        """Tell whether the user is in the segment with this id or name."""
        from chatbot import segments

        partition = account_key(self._account.admin_id, self._account.account_id)
        return segments.holds(partition, segment, subject, self._user_id)

    def answer_of(self, url: str, variable: Callable[[str], str]) -> str | None:
        """Ask a condition's URL with the user's variables."""
        from chatbot import external  # only few flows go out, and TLS takes long to load

        if not self._may_call():
            return None
        variables = {name: variable(name) for name in self._names()}
        return external.answer_of(url, user_id=self._user_id, variables=variables)

    def call_external(self, node_id: str, variable: Callable[[str], str]) -> ExternalAnswer:
        """Call the channel's external service; a repeated turn calls it with the same key, so it can tell."""
        from chatbot import cros_settings, external

        if not self._may_call():
            return ExternalAnswer(ok=False, order_id="")
        key = ids.derived_uuid(f"{self._account.account_id}#{self._user_id}#{self._event_id}#{node_id}")
        answer = external.cros(cros_settings.of(self._account), variable, user_id=self._user_id, key=key)
        self.errors += answer.errors
        return ExternalAnswer(answer.ok, answer.order_id)

    def _may_call(self) -> bool:
        self._calls += 1
        if self._hasty and self._calls > HASTY_CALLS:
            raise TryLater("more calls than anybody waits for")
        return self._calls <= CALLS_A_TURN
