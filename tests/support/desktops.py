"""A desktop in the test's own memory."""

from __future__ import annotations

from collections.abc import Callable

from pgherald.notify.desktop import Backend, Notice, Receipt
from support.fake_clock import FakeClock


class FakeDesktop(Backend):
    """Notes what it is asked to show."""

    def __init__(self, clock: FakeClock, *, takes: float = 0.0, backend: str = "fake") -> None:
        super().__init__()
        self.clock = clock
        self.takes = takes
        self.backend = backend
        self.why = ""
        self.elsewhere = False
        self.shown: list[str] = []
        self.in_place = backend != "chat"
        self.closed = False
        self.before: Callable[[], None] = lambda: None

    async def show(self, notice: Notice) -> Receipt:
        self.before()
        if self.takes:
            await self.clock.sleep(self.takes)
        self.shown.append(notice.title)
        return Receipt(self.elsewhere or not self.why, self.backend, self.why)

    async def close(self) -> None:
        self.closed = True

    async def _send(self, notice: Notice) -> None:
        raise NotImplementedError
