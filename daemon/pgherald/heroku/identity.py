"""Whose login an account's token is: somebody else's may not show the apps."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

from pgherald.errors import Forbidden, HerokuError, NotVisible, OtherLogin, PgheraldError
from pgherald.heroku.api import HerokuApi
from pgherald.secret import Secret
from pgherald.store import BackgroundStore

log = logging.getLogger(__name__)

_NOTE: Final = "login:"


class Identity:
    """Knows who has read an account's apps, and notices that it is another one who may not.

    Somebody else who is shown all that is wanted becomes the one from then on. A token that may
    not tell whose it is, such as one that may only read, is nobody's.

    Args:
        account: the account's name in the configuration.
        api: asks, once for each token.
        store: remembers who it was; without it, and without `recall`, nobody is asked.

    Attributes:
        error: that the login is somebody else's, while apps are hidden by that.
    """

    def __init__(self, account: str, api: HerokuApi, store: BackgroundStore | None) -> None:
        self.error: OtherLogin | None = None
        self._note = _NOTE + account
        self._api = api
        self._store = store
        self._owner: str | None = None
        self._asking = asyncio.Lock()
        self._token: Secret | None = None
        self._who = ""
        self._asks_again = False
        self._hidden: set[str] = set()
        if store is not None:
            self.recall(store.notes())

    def recall(self, notes: Mapping[str, str]) -> None:
        """Take over from a state file's notes who it was."""
        self._owner = notes.get(self._note, "")

    async def shown(self, app: str) -> None:
        """An app was read."""
        self._hidden.discard(app)
        if not self._hidden:
            self.error = None
        if self._api.budget.is_ample:
            await self._ask()
        if not self._owner:
            self._keep()

    async def why(self, app: str, error: HerokuError) -> HerokuError:
        """Why an app could not be read: `error`, or that the login is somebody else's."""
        if not isinstance(error, Forbidden | NotVisible):
            return error
        await self._ask()
        if not self._owner or self._who in ("", self._owner):
            return error
        self._hidden.add(app)
        title = f"Heroku: logged in as {self._who}, no longer as {self._owner}"
        if self.error is None or self.error.title != title:
            self.error = OtherLogin(
                title,
                f"It does not show all the apps that {self._owner} could see. Log in as "
                f"{self._owner} again. {self._api.tokens.advice} Or let their owners give "
                f"{self._who} access, or take those apps out of the configuration.",
            )
        return self.error

    def begin(self) -> None:
        """A sweep begins; what the one before has shown counts."""
        if self._asks_again:
            self._token, self._asks_again = None, False
        if self._who == self._owner:
            self._hidden.clear()
            self.error = None
        elif not self._hidden:
            self._keep()

    def _keep(self) -> None:
        if self._who and self._store is not None:
            self._owner = self._who
            self._store.note(self._note, self._owner)

    async def _ask(self) -> None:
        """Ask whose the token is, if that is not known."""
        if self._owner is None:
            return
        async with self._asking:
            try:
                token = await self._api.tokens.get()
                if token == self._token:
                    return
                self._token, self._who = token, ""
                self._who = await self._api.account()
            except PgheraldError as exc:
                log.debug("whose token it is: %s", exc.title)
                self._asks_again = not isinstance(exc, Forbidden)
