"""The list to pick from: keys in, lines out."""

from __future__ import annotations

import os
import pty
import termios
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgherald.cli.setup.ask import numbers
from pgherald.cli.setup.keys import NAMES, keyboard, named
from pgherald.cli.setup.picker import Picker

ROWS = ("blog  DATABASE", "shop-production  DATABASE", "shop-production  READER", "shop-staging")


def picker(*keys: str, marked: set[int] | None = None) -> Picker:
    """A picker after these keys; a text of several characters that is no key's name is typed."""
    made = Picker("Which?", ROWS, set(marked or ()))
    for key in keys:
        for each in [key] if key in NAMES.values() else key:
            made.press(each)
    return made


@pytest.mark.parametrize(
    ("keys", "picked"),
    [
        ((), [0]),
        (("down",), [1]),
        (("up",), [0]),
        (("end",), [3]),
        (("end", "down", "up", "up"), [1]),
        (("end", "home"), [0]),
        (("pagedown",), [3]),
        (("space", "down", "down", "space"), [0, 2]),
        (("space", "space", "down"), [1]),
        (("shop", "all"), [1, 2, 3]),
        (("shop", "all", "all"), [1]),
        (("STAG",), [3]),
        (("shop", "space", "escape", "blog", "space"), [0, 1]),
        (("shop-s", "backspace", "p"), [1]),
        (("read", "space", "escape"), [2]),
        (("nothing like it",), []),
        (("nothing", "space", "down", "all"), []),
    ],
)
def test_what_is_picked(keys: tuple[str, ...], picked: list[int]) -> None:
    """Enter takes the marked rows, or with none marked the one at the cursor."""
    assert picker(*keys).picked == picked


def test_enter() -> None:
    """Enter ends it, but not while nothing is picked."""
    assert picker("blog").press("enter")
    assert not picker("nothing").press("enter")


def test_nothing_may_be_picked() -> None:
    """Where nothing has to be picked, Enter alone goes on with nothing, and a filter means a row."""
    made = Picker("Which?", ROWS, needed=False)
    assert (made.press("enter"), made.picked) == (True, [])
    for key in "stag":
        made.press(key)
    assert (made.press("enter"), made.picked) == (True, [3])
    made.press("x")
    assert not made.press("enter")


def test_marks_outlive_the_filter() -> None:
    """A marked row stays marked while the filter hides it."""
    assert picker("blog", marked={3}).picked == [3]


def test_the_view() -> None:
    """The view shows question, keys, filter or count, and each row with cursor and mark."""
    assert picker("down", "space").view(80, 24) == [
        "Which?",
        "(type to filter, space marks, enter goes on)",
        "1 marked",
        "  [ ] blog  DATABASE",
        "> [x] shop-production  DATABASE",
        "  [ ] shop-production  READER",
        "  [ ] shop-staging",
    ]
    assert picker("zzz").view(80, 24)[2:] == ["Filter: zzz", "  nothing fits"]


@given(
    st.lists(st.sampled_from([*NAMES.values(), "s", "-", "é"]), max_size=12),
    st.integers(1, 120),
    st.integers(1, 30),
)
def test_any_terminal(keys: list[str], columns: int, lines: int) -> None:
    """In a terminal of whatever size each line fits and the cursor's row is in sight."""
    made = picker(*keys)
    view = made.view(columns, lines)
    assert max(map(len, view)) <= max(columns - 1, 1)
    assert len(view) <= max(lines - 1, 4)
    if made.shown and columns > 1:
        assert [line[:1] for line in view[3:]].count(">") == 1


@pytest.mark.parametrize(
    ("sent", "keys"),
    [
        ("\x1b[A\x1bOB", ["up", "down"]),
        ("ab \r", ["a", "b", "space", "enter"]),
        ("\x1b[6~\x1b[5~\x1b[H\x1b[F", ["pagedown", "pageup", "home", "end"]),
        ("\xe0H\x00P", ["up", "down"]),
        ("\x1b[1;5C\x02x", ["x"]),
        ("\x7f\x1b\x01\x04", ["backspace", "escape", "all", "stop"]),
        ("é", ["é"]),
    ],
)
def test_keys(sent: str, keys: list[str]) -> None:
    """What terminals send is told apart, and unknown sequences are nothing."""
    assert named(sent) == keys


def test_a_terminal_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys come one by one, sequences in pieces too; afterwards the terminal is as before."""
    near, far = pty.openpty()
    with os.fdopen(far) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        before = termios.tcgetattr(far)
        with keyboard() as keys:
            os.write(near, b"a\x1b[")
            rest = threading.Timer(0.02, os.write, (near, b"B\xc3\xa9"))
            rest.start()
            assert [next(keys) for _ in range(3)] == ["a", "down", "é"]
            with pytest.raises(KeyboardInterrupt):
                raise KeyboardInterrupt
            rest.join()
        assert termios.tcgetattr(far) == before
    os.close(near)


@pytest.mark.parametrize(
    ("answer", "picked"),
    [
        ("1", [0]), ("1,3", [0, 2]), ("2-4 1", [0, 1, 2, 3]), ("all", [0, 1, 2, 3]), ("ALL", [0, 1, 2, 3]),
        ("", []), ("0", []), ("5", []), ("3-2", []), ("x", []), ("1,x", []), ("-1", []), ("1-", []),
    ],
)  # fmt: skip
def test_numbers(answer: str, picked: list[int]) -> None:
    """Numbers, ranges and `all` are understood, and half an answer is none."""
    assert numbers(answer, 4) == picked
