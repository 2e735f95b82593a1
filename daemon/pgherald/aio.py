"""The few asyncio patterns that several rooms need."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[[], T]) -> T:
    """Run blocking work in a thread that nobody waits for at exit.

    `asyncio.to_thread` would: a library that hangs would then keep the program from ending.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: list[T], problem: Exception | None) -> None:
        if done.done():
            return  # nobody waits any more
        if problem is not None:
            done.set_exception(problem)
        else:
            done.set_result(result[0])

    def body() -> None:
        result: list[T] = []
        problem: Exception | None = None
        try:
            result.append(work())
        except Exception as exc:  # noqa: BLE001 – handed to whoever awaits
            problem = exc
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, problem)

    threading.Thread(target=body, name="pgherald-work", daemon=True).start()
    return await done


async def first_of(*waits: Coroutine[Any, Any, object]) -> None:
    """Wait for the first of several, and cancel the others; raises what the first one did."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
