"""What an answer of pgAdmin means for the person who reads it.

Sources: pgAdmin 9.18, `utils/ajax.py`, `utils/exception.py`, and `get_response_for_password` in
`browser/server_groups/servers/__init__.py`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, Self

import httpx


class Outcome(enum.Enum):
    """What came of one call, in the words of the person who made it."""

    WORKS = "works"
    LOST = "the connection to the server has been lost"
    PROMPT = "it asks for a password"
    FAILED = "it failed"


@dataclass(frozen=True, slots=True)
class Answer:
    """What pgAdmin answered.

    Attributes:
        outcome: what it means for the person.
        text: what the person gets to read: a prompt's or an error's text.
        data: what was asked for, when it works.
        status: the HTTP status.
    """

    outcome: Outcome
    text: str = ""
    data: Any = None
    status: int = 200

    @property
    def works(self) -> bool:
        return self.outcome is Outcome.WORKS

    def must(self) -> Any:
        """The data of an answer that has to work."""
        assert self.works, self
        return self.data

    @classmethod
    def of(cls, response: httpx.Response) -> Self:
        """Read a response as pgAdmin's pages read it."""
        try:
            said = response.json()
        except ValueError:
            said = response.text
        if not isinstance(said, dict) or "success" not in said:
            # A page, or plain rows: only the status tells.
            text = "" if response.is_success else str(said)[:500]
            outcome = Outcome.WORKS if response.is_success else Outcome.FAILED
            return cls(outcome, text, said, response.status_code)
        text = str(said.get("errormsg") or said.get("info") or "")
        wanted = said.get("result")
        if isinstance(wanted, dict):
            text = str(wanted.get("errmsg") or text)
        # Which of the two it is differs from call to call.
        return cls(_outcome(response, said), text, said.get("data") or wanted, response.status_code)


def _outcome(response: httpx.Response, said: dict[str, Any]) -> Outcome:
    """What an answer in pgAdmin's usual form means."""
    wanted = said.get("result")
    if isinstance(wanted, dict) and wanted.get("prompt_password"):
        return Outcome.PROMPT
    if said.get("info") == "CRYPTKEY_MISSING":
        # The page answers with the dialog for the master password.
        return Outcome.PROMPT
    if said.get("info") == "CONNECTION_LOST":
        return Outcome.LOST
    if response.status_code == httpx.codes.PRECONDITION_REQUIRED:
        # A page about a server that is not open: it has to be opened again.
        return Outcome.LOST
    return Outcome.WORKS if response.is_success and said["success"] else Outcome.FAILED
