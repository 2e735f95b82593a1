"""Speaks on edges: one notice when something breaks, one when it works again.

What does not work is kept in the store, so a restart does not tell it anew; what is told
does not depend on the store, which may be what is broken. Troubles that usually pass by
themselves (a dropped network, Heroku catching its breath) are told only when they last.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from pgherald.clock import Clock
from pgherald.errors import (
    BeingWritten,
    ChangedMeanwhile,
    NotHeroku,
    NotYetProven,
    PgheraldError,
    RateLimited,
    Unavailable,
)
from pgherald.files.own import DAMAGED
from pgherald.model import About, News, NewsKind, Subject
from pgherald.store import Alert, BackgroundStore

#: How many mentions are remembered.
_MENTIONED: Final = 100

_QUARTER: Final = 15 * 60.0

#: How long a trouble of these kinds must last before the person hears of it, in seconds that
#: this process has seen it: neither a closed lid nor a clock that is set counts.
#: `NotYetProven` never is told: it ends as proven or as `ProbeFailed` within minutes.
PATIENCE: Final[dict[str, float]] = {
    Unavailable.__name__: _QUARTER,
    NotHeroku.__name__: _QUARTER,
    RateLimited.__name__: _QUARTER,
    NotYetProven.__name__: math.inf,
    # Other programs write their files, and are done in a moment.
    BeingWritten.__name__: 5 * 60.0,
    ChangedMeanwhile.__name__: 5 * 60.0,
}

#: How long status shows that the state file had to be started afresh.
_DAMAGE_TOLD: Final = timedelta(days=1)

#: Kinds that are one and the same to the person: an outage shows itself now as a time-out,
#: now as a page of some proxy.
_PASSING: Final = frozenset(kind for kind, seconds in PATIENCE.items() if seconds == _QUARTER)


class Alerts:
    """What does not work, and who was told.

    Args:
        store: remembers across restarts, whatever becomes of its file.
        clock: tells how long a trouble has lasted.
        tell: takes news for the person; must not block.
        notifies: whether `tell` notifies; a `check` only prints, so the daemon is still to.
    """

    def __init__(
        self,
        store: BackgroundStore,
        clock: Clock,
        tell: Callable[[News], None],
        *,
        notifies: bool = True,
    ) -> None:
        self._store = store
        self._notifies = notifies
        self._clock = clock
        self._tell = tell
        self._known = {trouble.subject: trouble for trouble in store.alerts()}
        #: What the person heard last of a subject. It may be something else by now, which must
        #: last a while before it is told; and when all is over, that is what works again.
        self._told = {trouble.subject: trouble for trouble in self._known.values() if trouble.told}
        self._first: dict[Subject, float] = {}

    def fire(self, subject: Subject, label: str, error: PgheraldError) -> None:
        """Something does not work (or still does not)."""
        now, moment = self._clock.now(), self._clock.monotonic()
        old, told = self._known.get(subject), self._told.get(subject)
        if told and isinstance(error, NotYetProven):
            return  # it is being tried once more, which is no news and no end
        if old is None or _family(old.kind) != _family(error.kind):
            self._first[subject] = moment
        lasts = moment - self._first.setdefault(subject, moment)
        news = told is None or _family(told.kind) != _family(error.kind)
        tells = self._notifies and news and lasts >= PATIENCE.get(error.kind, 0.0)
        since = now if old is None else old.since
        trouble = Alert(
            subject, label, error.kind, error.title, error.advice, since, bool(told) or tells
        )
        # Another pgherald, such as a `check`, may have found that it works, and be wrong by now.
        if trouble != old or self.kept(subject) is None:
            self._known[subject] = trouble
            self._store.put_alert(trouble)
        if tells or not news:
            self._told[subject] = trouble
        if tells:
            self._tell(self._news(NewsKind.TROUBLE, trouble))

    def resolve(self, subject: Subject) -> None:
        """It works. Tells so if the trouble had been told, and not by another pgherald."""
        if (trouble := self._forget(subject)) is not None:
            self._tell(self._news(NewsKind.RECOVERED, trouble))

    def _forget(self, subject: Subject) -> Alert | None:
        """Let go of a subject; what the person heard of it last."""
        self._known.pop(subject, None)
        self._first.pop(subject, None)
        self._store.clear_alert(subject)
        return self._told.pop(subject, None)

    def _news(self, kind: NewsKind, alert: Alert) -> News:
        ended = kind is NewsKind.RECOVERED
        return News(
            kind,
            alert.subject,
            self._clock.now(),
            alert.label,
            title=alert.title,
            advice="" if ended else alert.advice,
            since=alert.since if ended else None,
            error=alert.kind,
        )

    def mention(self, subject: Subject, label: str, what: PgheraldError) -> None:
        """Notify once of what hinders nothing: it is no alert, and never resolved."""
        known: list[str] = []
        with contextlib.suppress(ValueError, TypeError):  # a damaged state file
            known += json.loads(self._store.notes().get("mentioned", "[]"))
        if not self._notifies or what.title in known:
            return
        self._store.note("mentioned", json.dumps([*known, what.title][-_MENTIONED:]))
        now = self._clock.now()
        alert = Alert(subject, label, what.kind, what.title, what.advice, now, told=True)
        self._tell(self._news(NewsKind.TROUBLE, alert))

    def keep_only(self, concerns: Callable[[Subject], bool]) -> None:
        """Forget, without a word, the troubles of what is no longer kept.

        Nobody asks about such a thing any more, so nobody would ever say that it works.

        Args:
            concerns: whether a subject is still kept.
        """
        for subject in list(self._known):
            if not concerns(subject):
                self._forget(subject)

    def keep_anew(self) -> None:
        """Keep all that is known once more: the store has begun anew."""
        for trouble in self._known.values():
            self._store.put_alert(trouble)

    def kept(self, subject: Subject) -> Alert | None:
        """What the store keeps of a subject, whichever pgherald found it."""
        return self._store.alert(subject)


def forget_damage(store: BackgroundStore, alerts: Alerts, clock: Clock) -> None:
    """That the state file was begun anew is worth a word for a day, or until the old one is gone."""
    kept = store.path.with_name(store.path.name + DAMAGED)
    for trouble in store.alerts():
        old = clock.now() - trouble.since >= _DAMAGE_TOLD
        if trouble.subject.about is About.STORE and (old or not kept.exists()):
            alerts.keep_only(lambda subject: subject.about is not About.STORE)


def _family(kind: str) -> str:
    return "passing" if kind in _PASSING else kind
