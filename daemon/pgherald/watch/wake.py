"""Notices that the wall clock has jumped: the lid was closed, or the clock was set.

The loop's timers run on a clock that may stand still while the machine sleeps, so a job
that is due in a minute can come eight hours late. A short tick comes soon after any sleep
and sees that more time, or less, has passed than it asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from pgherald.clock import Clock, until_beat

log = logging.getLogger(__name__)

#: Seconds between ticks, which come on the beat (`until_beat`): the longest that a wake-up goes unnoticed.
TICK: Final = 30.0

#: Seconds of difference that are no jump: a busy machine, a clock being disciplined.
TOLERANCE: Final = 5.0


async def tick(
    clock: Clock,
    on_jump: Callable[[float], None],
    *,
    on_tick: Callable[[], None] = lambda: None,
) -> None:
    """Tick until cancelled.

    What passed on the wall clock is compared with what was asked for. That finds a sleep
    both where the monotonic clock stands still meanwhile (Linux, macOS) and where it runs
    on, so that the tick comes late (Windows).

    Args:
        clock: the two clocks.
        on_jump: called with the seconds that the wall clock jumped, below 0 for back.
        on_tick: called at every tick, after `on_jump`; for what should be checked now
            and then.
    """
    while True:
        before = clock.now()
        pause = until_beat(clock, TICK)
        await clock.sleep(pause)
        jumped = (clock.now() - before).total_seconds() - pause
        if abs(jumped) > TOLERANCE:
            log.info("The clock jumped by %+.0f s: the machine slept, or it was set.", jumped)
            _call(partial(on_jump, jumped))
        _call(on_tick)


def _call(callback: Callable[[], None]) -> None:
    try:
        callback()
    except Exception as exc:  # noqa: BLE001 – whatever it was, the next tick must come
        log.error("A wake-up check failed (%s).", type(exc).__name__)
