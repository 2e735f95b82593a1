"""Which apps have to be read: one list instead of one question for each app.

The list of an account's apps tells of each when it had its last release, and every change
of a config var is a release (Heroku: `released_at` moves with each, `updated_at` with much
else). So an app is read

- when the list shows another `released_at` than before its last reading, or another app by
  that name, or does not show the app at all: then the app itself says why;
- once more some seconds after that, since Heroku's stamps have whole seconds, and two
  releases may share one;
- in its turn, whatever the list says: nobody has proven that `released_at` moves with every
  kind of rotation. Each app has its turn once in `full_sweep` seconds, one after the other
  and not all at once; with very many apps it comes later, since all turns together may cost
  a fifth of the budget and no more.

A list is not worthwhile where it has as many pages as apps are wanted; then each app is read.
Bytes are a cost, too: where few of very many apps are wanted, and the budget is nearly full, each
of them is read as well, for an empty 304 in most cases.
A sweep uses at most half of what the budget has left: the other half is for the next list, and
for events. What that does not allow is put off to the next sweep; the app that was read longest
ago comes first, so that one that changes all the time keeps no other waiting.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from pgherald.clock import Clock
from pgherald.errors import AccountSuspended, HerokuError, NotHeroku, Unavailable
from pgherald.heroku.answers import App
from pgherald.heroku.budget import Budget

#: Seconds between two readings of the same config var, where no list says that it changed.
FULL_SWEEP: Final = 15 * 60.0

#: What the question for the list is called among the questions about apps; no app has that name.
LIST: Final = "*"

#: Apps on one page of the list.
_PAGE: Final = 1000

#: Apps in the list that cost as many bytes as are worth a request: some 30 KB, not compressed.
_WORTH: Final = 40

#: The part of a burst that must be left for saving bytes by further requests.
_NEARLY_FULL: Final = 0.75

#: A release younger than this is read once more. Heroku's clock and ours may differ.
_YOUNG: Final = timedelta(minutes=5)

#: Seconds after which another release would have another stamp.
_NEXT_STAMP: Final = 2.0

#: The part of the budget that readings in turn may cost.
_TURNS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Choice:
    """What to do in a sweep.

    Attributes:
        read: the apps to be read.
        put_off: those that should be read and that the budget does not allow.
        listed: whether Heroku has answered with a list just now.
    """

    read: tuple[str, ...]
    put_off: frozenset[str]
    listed: bool


@dataclass(frozen=True, slots=True)
class _Reading:
    """The last reading of an app.

    Attributes:
        stamp: the app as the list had shown it before.
        first: when the first reading with that stamp began, on the monotonic clock.
        settled: whether it need not be read once more.
    """

    stamp: App | None
    first: float
    settled: bool


class Overview:
    """Chooses the apps that a sweep of one account reads.

    Args:
        clock: tells the time.
        budget: says what the account may still cost.
        ask: asks for the list, if now is the time for it.
        is_own: whether an error of the list is the list's alone, and not the account's.
        full_sweep: seconds in which every app is read at least once.
    """

    def __init__(
        self,
        clock: Clock,
        budget: Budget,
        ask: Callable[[], Awaitable[Sequence[App]]],
        is_own: Callable[[HerokuError], bool],
        *,
        full_sweep: float = FULL_SWEEP,
    ) -> None:
        self._clock = clock
        self._budget = budget
        self._ask = ask
        self._is_own = is_own
        self._full_sweep = full_sweep
        #: What the list said of each app.
        self._stamps: Mapping[str, App] = {}
        self._listed = False
        #: By app, the one that was read longest ago first.
        self._readings: dict[str, _Reading] = {}
        self._length = 1
        self._turns = 0.0
        self._turned_at = (clock.now(), clock.monotonic())

    async def choose(self, apps: Sequence[str]) -> Choice:
        """Choose among these apps.

        Raises:
            HerokuError: the list could not be had, and neither can anything else.
            PgheraldError: what the token source raises.
        """
        wanted = set(apps)
        self._readings = {app: last for app, last in self._readings.items() if app in wanted}
        self._listed = False
        if self._budget.left <= 1:  # a list of which nothing could be read is no use
            return Choice((), frozenset(wanted), listed=False)
        others: Collection[str] = frozenset()
        if self._is_worthwhile(len(wanted)) and await self._poll_list(wanted):
            due = [app for app in apps if self._is_due(app)]
            others = wanted.difference(due)
        else:
            due = list(apps)
        due = self._longest_ago(due)
        affordable = (self._budget.left + 1) // 2
        read = due[:affordable]
        read += self._in_turn(others, affordable - len(read) if self._budget.is_ample else 0)
        return Choice(tuple(read), frozenset(due[affordable:]), self._listed)

    def stamp(self, app: str) -> App | None:
        """What is to be handed to `was_read`; to be asked for before the reading."""
        return self._stamps.get(app)

    def was_read(self, app: str, stamp: App | None, began: float) -> None:
        """The app has been read.

        Args:
            app: which one.
            stamp: what `stamp` said when the reading began.
            began: when that was, on the monotonic clock.
        """
        before = self._readings.pop(app, None)
        again = before is not None and before.stamp == stamp
        first = before.first if again and before is not None else began
        released_at = stamp.released_at if stamp is not None else None
        old = released_at is not None and self._clock.now() - released_at > _YOUNG
        settled = old or (again and began - first >= _NEXT_STAMP)
        self._readings[app] = _Reading(stamp, first, settled)

    def was_refused(self, app: str) -> None:
        """The app could not be read: it is due at the next sweep, after all that waits longer."""
        self._readings.pop(app, None)
        self._readings[app] = _Reading(None, 0.0, settled=False)

    def forget(self) -> None:
        """Read everything again: another token may show something else."""
        self._readings.clear()

    def _is_worthwhile(self, apps: int) -> bool:
        if self._budget.left > self._budget.burst * _NEARLY_FULL:
            return apps > max(1, self._length // _WORTH)
        return apps > -(-self._length // _PAGE)

    async def _poll_list(self, wanted: Collection[str]) -> bool:
        """Poll the list; whether it can be relied on.

        A list that is refused hinders nobody: each app is read, as far as the budget goes.
        One that does not come, while apps can be read, counts as unchanged.
        """
        try:
            found = await self._ask()
        except HerokuError as exc:
            if not self._is_own(exc) or isinstance(exc, AccountSuspended):
                raise
            return isinstance(exc, NotHeroku | Unavailable)
        self._listed = True
        self._stamps = {app.name: app for app in found if app.name in wanted}
        self._length = max(1, len(found))
        return True

    def _is_due(self, app: str) -> bool:
        reading, stamp = self._readings.get(app), self._stamps.get(app)
        if reading is None or not reading.settled:
            return True
        return stamp is None or stamp.released_at is None or stamp != reading.stamp

    def _in_turn(self, apps: Collection[str], most: int) -> list[str]:
        """The apps that are read though nothing seems to have changed; `most` at most."""
        now, before = (self._clock.now(), self._clock.monotonic()), self._turned_at
        # The monotonic clock stands still while the machine sleeps; the other may be set back.
        passed = max((now[0] - before[0]).total_seconds(), now[1] - before[1], 0.0)
        self._turned_at = now
        each_hour = self._budget.allowance * _TURNS
        pace = min(len(apps) / self._full_sweep, each_hour / 3600.0)
        self._turns = min(self._turns + passed * pace, float(len(apps)))
        # Turns that the budget did not allow for a while are made up for little by little.
        number = min(int(self._turns), most, 1 + int(2 * passed * pace))
        self._turns -= number
        return self._longest_ago(sorted(apps))[:number]

    def _longest_ago(self, apps: Iterable[str]) -> list[str]:
        """What was read longest ago comes first; never is longer still."""
        places = {app: place for place, app in enumerate(self._readings)}
        return sorted(apps, key=lambda app: places.get(app, -1))
