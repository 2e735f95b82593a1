"""The few asyncio patterns that several rooms need."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[[], T]) -> T:
    """Run blocking work in a thread that nobody waits for at exit.

    `asyncio.to_thread` would: a library that hangs would then keep the program from ending.
    """
    done: Future[T] = Future()
    done.set_running_or_notify_cancel()
    waiting = asyncio.wrap_future(done)

    def body() -> None:
        try:
            done.set_result(work())
        except Exception as exc:  # noqa: BLE001 – handed to whoever awaits
            done.set_exception(exc)

    threading.Thread(target=body, name="pgherald-work", daemon=True).start()
    return await waiting


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


async def set_anew(event: asyncio.Event, due: float | None) -> None:
    """Wait until an event is set after this moment, or until that loop time; None for no limit."""
    event.clear()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(due):
            await event.wait()


def on_loop(call: Callable[..., object]) -> Callable[..., None]:
    """The same call for any thread, made on the running loop; none once the loop has closed."""
    loop = asyncio.get_running_loop()

    def ask(*args: object) -> None:
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(call, *args)

    return ask
