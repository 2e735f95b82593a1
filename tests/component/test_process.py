"""Child programs, run for real."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from pgherald.process import OUTPUT_LIMIT, Ended, environment, run
from support.household import until

ENV = {"PATH": os.environ["PATH"]}


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]


async def gone(pid: int) -> None:
    await until(lambda: not alive(pid))


@pytest.mark.lets_out("the program that the test makes up names it")
async def test_only_wanted_output_is_kept() -> None:
    """Exit code and stdout come back, and stderr only where it is asked for; neither is shown."""
    code = python("import sys; print(' HRKU-CANARY '); print('more'); sys.exit('why')")
    ended = await run(code, ENV, out=True)
    assert (ended.code, ended.out, ended.err) == (1, " HRKU-CANARY \nmore\n", "")
    assert "CANARY" not in repr(ended)
    assert (await run(code, ENV)) == Ended(1)


def test_the_environment_holds_no_token() -> None:
    """Of our variables a program gets those it needs, those it is granted, and its own."""
    ours = {"PATH": "/bin", "Path": "C:", "HEROKU_API_KEY": "CANARY", "DISPLAY": ":0"}
    assert environment(ours) == {"PATH": "/bin", "Path": "C:"}
    assert environment(ours, {"DISPLAY"}, A="b") == {
        "PATH": "/bin", "Path": "C:", "DISPLAY": ":0", "A": "b",
    }  # fmt: skip


@pytest.mark.lets_out("the program that the test makes up names it")
async def test_the_child_cannot_prompt_and_gets_only_its_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No input, no terminal, no variable that was not handed over, none of systemd's."""
    monkeypatch.setenv("CANARY_VARIABLE", "x")
    code = (
        "import os, sys; sys.stdin.read(); "
        "print(sorted(set(os.environ) & {'A', 'CANARY_VARIABLE', 'NOTIFY_SOCKET'}), os.getsid(0) == os.getpid())"
    )
    ended = await run(python(code), {**ENV, "A": "b", "NOTIFY_SOCKET": "/x"}, out=True)
    assert ended.out == "['A'] True\n"


async def test_a_child_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    """At the time limit the whole process group dies."""
    pids = tmp_path / "pids"
    code = (
        "import os, subprocess, sys, time; "
        "c = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
        f"open({str(pids)!r} + '.new', 'w').write(f'{{os.getpid()}} {{c.pid}}'); "
        f"os.rename({str(pids)!r} + '.new', {str(pids)!r}); time.sleep(60)"
    )
    for limit in (0.8, 5, 50):  # until the machine is fast enough for the child to begin
        with pytest.raises(TimeoutError):
            await run(python(code), ENV, time_limit=limit)
        if pids.exists():
            break
    parent, child = map(int, pids.read_text().split())
    await gone(parent)
    await gone(child)


async def test_an_abandoned_child_is_killed(tmp_path: Path) -> None:
    """When the daemon stops in the middle, the program does not stay behind."""
    pids = tmp_path / "pids"
    code = f"import os, time; open({str(pids)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    task = asyncio.create_task(run(python(code), ENV))
    await until(lambda: pids.exists() and pids.read_text() != "")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await gone(int(pids.read_text()))


async def test_a_grandchild_that_holds_the_pipe_delays_nobody() -> None:
    """An agent that a program leaves running does not keep its token back."""
    code = (
        "import subprocess, sys; "
        "agent = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(20)'], "
        "start_new_session=True); print(agent.pid, 'HRKU-1')"
    )
    start = time.monotonic()
    ended = await run(python(code), ENV, out=True)
    pid, token = ended.out.split()
    os.kill(int(pid), signal.SIGKILL)
    assert token == "HRKU-1"
    assert time.monotonic() - start < 10


async def test_a_flood_is_cut() -> None:
    """Megabytes of output are neither kept nor a reason to block."""
    ended = await run(python("print('x' * 5_000_000)"), ENV, out=True)
    assert len(ended.out) == OUTPUT_LIMIT
