"""How much work something is: calls of Python functions, which no busy machine changes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Count:
    """How many calls there were."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, _frame: FrameType, event: str, _arg: Any) -> None:
        """Count (sys.setprofile). Each value that a generator gives is a call too."""
        if event in {"call", "c_call"}:
            self.calls += 1


@contextmanager
def counted() -> Iterator[Count]:
    """Meanwhile, count the calls of this thread and of those that it starts."""
    count, before = Count(), sys.getprofile()
    threading.setprofile(count)
    sys.setprofile(count)
    try:
        yield count
    finally:
        sys.setprofile(before)
        threading.setprofile(None)


def calls(work: Callable[[], object]) -> int:
    """How many calls it takes."""
    with counted() as count:
        work()
    return count.calls
