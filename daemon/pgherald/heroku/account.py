"""An account's databases: for each a sighting, or why there is none; and whose the login is."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, TypeVar

from pgherald import errors
from pgherald.heroku.answers import LogSession, VarsSeen
from pgherald.heroku.api import HerokuApi
from pgherald.heroku.backoff import LONGEST, Backoff, Pause
from pgherald.heroku.overview import FULL_SWEEP, LIST, Choice, Overview
from pgherald.heroku.url import parse_postgres_url
from pgherald.model import Database, DatabaseKey, Sighting
from pgherald.secret import Secret
from pgherald.store import BackgroundStore

log = logging.getLogger(__name__)

T = TypeVar("T")

_NAMED_AT_MOST: Final = 3
_NOTE: Final = "login:"


@dataclass(frozen=True, slots=True)
class Missing:
    """A database without a sighting.

    Attributes:
        key: which database.
        error: why; its advice says what to do.
    """

    key: DatabaseKey
    error: errors.PgheraldError


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
        self.error: errors.OtherLogin | None = None
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

    async def why(self, app: str, error: errors.HerokuError) -> errors.HerokuError:
        """Why an app could not be read: `error`, or that the login is somebody else's."""
        if not isinstance(error, errors.Forbidden | errors.NotVisible):
            return error
        await self._ask()
        if not self._owner or self._who in ("", self._owner):
            return error
        self._hidden.add(app)
        title = f"Heroku: logged in as {self._who}, no longer as {self._owner}"
        if self.error is None or self.error.title != title:
            self.error = errors.OtherLogin(
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
            except errors.PgheraldError as exc:
                log.debug("whose token it is: %s", exc.title)
                self._asks_again = not isinstance(exc, errors.Forbidden)


class Account:
    """Asks one Heroku account, and asks it less often when that does not go well.

    Attributes:
        name: its name in the configuration.
        api: what is asked.
        interval: seconds between two sweeps.
        identity: knows whose login the token is.
    """

    def __init__(
        self,
        name: str,
        api: HerokuApi,
        *,
        interval: float = 60.0,
        full_sweep: float = FULL_SWEEP,
        jitter: Callable[[], float] = random.random,
        store: BackgroundStore | None = None,
    ) -> None:
        """Make an account.

        Args:
            name: its name in the configuration.
            api: what is asked; brings the clock.
            interval: seconds between two sweeps; pauses begin with that.
            full_sweep: seconds in which every app is read, changed or not.
            jitter: gives numbers from 0 to 1, by which pauses are made unequal.
            store: knows which logins were recorded before, of which nobody will ask with which
                release they came, and whose token it was; None where there is no state yet.
        """
        self.name = name
        self.api = api
        self.interval = interval
        self._store = store
        self.identity = Identity(name, api, store)
        self._backoff = Backoff(api.clock, interval, jitter)
        self._recheck: Pause | None = None
        self._releases: dict[str, tuple[Mapping[str, Secret | None], int | None]] = {}
        self._known: dict[str, tuple[Sequence[Database], list[Sighting | Missing]]] = {}
        self._overview = Overview(
            api.clock,
            api.budget,
            lambda: self.ask(LIST, api.apps),
            lambda exc: self._backoff.is_own(LIST, exc),
            full_sweep=full_sweep,
        )

    @property
    def stopped(self) -> errors.HerokuError | None:
        """Why nothing is asked until the token changes; None while all is well."""
        return self._backoff.stopped

    def retry(self) -> None:
        """Somebody did something about it: ask again, with a token read afresh."""
        self._backoff.reset()
        self._recheck = None
        self._overview.forget()
        self.api.tokens.forget()

    async def choose(self, apps: Sequence[str]) -> Choice:
        """Choose the apps that a sweep reads; see `Overview`.

        Raises:
            HerokuError: as in `read`.
            MissingTool: likewise.
        """
        self.identity.begin()
        choice = await self._overview.choose(apps)
        for app in choice.read:
            # One that the list does not show is gone, and asking again would say the same.
            if not choice.listed or self._overview.stamp(app) is not None:
                self._backoff.forget_refusal(app)
        return choice

    def known(self, databases: Sequence[Database]) -> list[Sighting | Missing] | None:
        """The result of the last reading of these databases of one app, as of now.

        None when these very databases have not been read yet.
        """
        before = self._known.get(databases[0].key.app)
        if before is None or before[0] != databases:
            return None
        now = self.api.clock.now()
        return [w if isinstance(w, Missing) else replace(w, seen_at=now) for w in before[1]]

    async def read(self, databases: Sequence[Database]) -> list[Sighting | Missing]:
        """Read the databases of one app.

        Args:
            databases: all of the same app.

        Returns:
            One item for each database, in the same order. What concerns this app alone
            (gone, forbidden, broken while others work) is there as `Missing`.

        Raises:
            HerokuError: what concerns the account, or may. While the account rests it is
                the error that began the rest, and nothing is sent.
            MissingTool: the token source, or the way to Heroku, lacks something.
        """
        app = databases[0].key.app
        attachments = [database.key.attachment for database in databases]
        stamp, began = self._overview.stamp(app), self.api.clock.monotonic()
        try:
            seen = await self.ask(app, lambda: self.api.config_vars(app, attachments))
        except errors.HerokuError as exc:
            if not self._backoff.is_own(app, exc):
                raise
            self._overview.was_refused(app)
            error = await self.identity.why(app, exc)
            return [Missing(database.key, error) for database in databases]
        found = [_sighting(database, seen) for database in databases]
        if (release := await self._release(app, seen, found)) is not None:
            found = [w if isinstance(w, Missing) else replace(w, release=release) for w in found]
        self._known[app] = (databases, found)
        self._overview.was_read(app, stamp, began)
        await self.identity.shown(app)
        return found

    async def open_log(self, app: str) -> LogSession:
        """Open a log session of an app, if now is the time for it.

        Raises:
            HerokuError: as in `_beside`.
            MissingTool: as in `read`.
        """
        return await self._beside(app, lambda: self.api.open_log(app))

    async def token_ends_at(self) -> datetime | None:
        """When the token ends, UTC, if now is the time to ask; see `HerokuApi.token_ends_at`.

        Raises:
            HerokuError: as in `_beside`.
            MissingTool: as in `read`.
        """
        return await self._beside(None, self.api.token_ends_at)

    async def _beside(self, subject: str | None, question: Callable[[], Awaitable[T]]) -> T:
        """Put a question that nothing hangs on.

        A failure is held against nobody: the next sweep finds out by itself what is wrong.
        Only the limit of requests is everybody's.

        Raises:
            HerokuError: why there is no answer. `Unavailable` when nothing was sent, since
                the account or the app rests, or for the sake of the budget.
            MissingTool: as in `read`.
        """
        try:
            began = self._backoff.check(subject)
        except errors.HerokuError as exc:
            raise errors.Unavailable(exc.title) from None
        if not self.api.budget.is_ample:
            raise errors.Unavailable("There are few requests left")
        try:
            return await question()
        except errors.RateLimited as exc:
            self._backoff.failed(None, exc, began)
            raise

    async def ask(
        self, subject: str | None, question: Callable[[], Awaitable[T]], *, anew: bool = False
    ) -> T:
        """Put a question, if now is the time for it, and remember how that went.

        Args:
            subject: the app that it is about; None when about no single one.
            question: sends the requests.
            anew: whether what Heroku refused may be mended, so that it does not rest.

        Raises:
            HerokuError: as in `read`.
            MissingTool: likewise.
        """
        if self.stopped is not None and await self._has_other_token():
            self._backoff.reset()
        if anew and subject is not None:
            self._backoff.forget_refusal(subject)
        began = self._backoff.check(subject)
        try:
            answer = await question()
        except errors.HerokuError as exc:
            self._backoff.failed(subject, exc, began)
            if self.stopped is exc:
                self._recheck = Pause(self.api.clock, LONGEST)
            raise
        self._backoff.succeeded(subject, began)
        return answer

    async def _has_other_token(self) -> bool:
        """Whether the source gives a token that Heroku has not refused yet.

        A source that only reads is read each time. Others start a program, and the Heroku
        CLI even asks Heroku: that is done every 15 minutes.
        """
        tokens = self.api.tokens
        if not tokens.cheap:
            if self._recheck is not None and not self._recheck.is_over:
                return False
            self._recheck = Pause(self.api.clock, LONGEST)
            tokens.forget()
        try:
            return await tokens.get() != self.api.refused
        except errors.PgheraldError:
            return False

    async def _release(
        self, app: str, seen: VarsSeen, found: Sequence[Sighting | Missing]
    ) -> int | None:
        """The release that showed these logins; asked for only when they are new.

        It only adorns the sighting, so it is not asked for while there are few requests left.
        """
        logins, release = self._releases.get(app, (None, None))
        if logins == seen.logins:
            return release
        sightings = [what for what in found if isinstance(what, Sighting)]
        known = self._store is not None and all(
            self._store.changed(sighting.key, sighting.login) == () for sighting in sightings
        )
        if known or not self.api.budget.is_ample:
            self._releases[app] = (seen.logins, None)
            return None
        try:
            release = await self.api.latest_release(app)
        except errors.PgheraldError as exc:
            log.debug("release of %s: %s", app, exc.title)
            return None
        self._releases[app] = (seen.logins, release)
        return release


def _sighting(database: Database, seen: VarsSeen) -> Sighting | Missing:
    key = database.key
    if key.attachment not in seen.logins:
        return Missing(key, _no_such_var(key, [var for same in seen.others for var in same]))
    var = key.attachment if key.attachment in seen.bare else key.var
    url = seen.logins[key.attachment]
    try:
        login = parse_postgres_url(url, database.sslmode, var=var, app=key.app)
    except errors.BadUrl as exc:
        return Missing(key, exc)
    # A tunnel stays where it is, whatever the server behind it is called.
    there = replace(login, host=database.host or login.host, port=database.port or login.port)
    return Sighting(key, there, seen.seen_at, None)


def _no_such_var(key: DatabaseKey, others: Sequence[str]) -> errors.NotVisible:
    advice = (
        f"`heroku addons --app {key.app}` lists what is attached: attach a database, or take this "
        "one out of the configuration."
    )
    if others:
        names = ", ".join(others[:_NAMED_AT_MOST])
        advice = f"It has {names}: name one of them, without `_URL`, as the `attachment`."
    return errors.NotVisible(f"{key.app} has no {key.var}", advice)
