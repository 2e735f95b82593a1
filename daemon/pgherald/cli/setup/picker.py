"""A list to pick from: type to filter, space to mark, Enter to go on. Pure.

Keys go in, lines come out; `keys` reads the ones and `ask` draws the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

#: Lines above and below the rows.
FRAME: Final = 3


@dataclass(slots=True)
class Picker:
    """What is marked, what is typed, and where the cursor is.

    Attributes:
        title: the question.
        rows: what there is to pick, one line each.
        marked: numbers of the marked rows.
        typed: the filter; a row shows that holds each of its words, in whatever case.
        cursor: place of the cursor among the rows shown.
        needed: whether something has to be picked.
    """

    title: str
    rows: Sequence[str]
    marked: set[int] = field(default_factory=set)
    typed: str = ""
    cursor: int = 0
    needed: bool = True

    @property
    def shown(self) -> list[int]:
        """Numbers of the rows that fit the filter."""
        words = self.typed.lower().split()
        return [n for n, row in enumerate(self.rows) if all(word in row.lower() for word in words)]

    @property
    def picked(self) -> list[int]:
        """What Enter takes: the marked rows, or with none marked the one at the cursor.

        Where nothing has to be picked, the latter only while a filter shows that it is meant.
        """
        at_cursor = self.shown[self.cursor : self.cursor + 1]
        return sorted(self.marked) or (at_cursor if self.needed or self.typed else [])

    def press(self, key: str) -> bool:
        """Press a key; whether that was the end.

        Args:
            key: a name as in `keys.NAMES`, or a character.
        """
        if key == "enter":
            return bool(self.picked) or not (self.needed or self.typed)
        if action := _ACTIONS.get(key):
            action(self)
        elif len(key) == 1 and key.isprintable():
            self._type(self.typed + key)
        return False

    def view(self, columns: int, lines: int) -> list[str]:
        """The lines to draw, fitted to the terminal.

        Args:
            columns: of the terminal.
            lines: likewise.
        """
        shown, room = self.shown, max(lines - FRAME - 1, 1)
        top = min(max(self.cursor - room // 2, 0), max(len(shown) - room, 0))
        body = [self._row(number, at) for at, number in enumerate(shown)][top : top + room]
        more = len(shown) - len(body)
        count = f"{len(self.marked)} marked" + (f", {more} more by the arrow keys" if more else "")
        hint = "type to filter, space marks, enter goes on"
        head = [self.title, f"({hint})", f"Filter: {self.typed}" if self.typed else count]
        # The last column stays free: some terminals begin a new line after it.
        return [line[: max(columns - 1, 1)] for line in [*head, *(body or ["  nothing fits"])]]

    def _row(self, number: int, at: int) -> str:
        pointer = ">" if at == self.cursor else " "
        mark = "x" if number in self.marked else " "
        return f"{pointer} [{mark}] {self.rows[number]}"

    def _type(self, typed: str) -> None:
        self.typed, self.cursor = typed, 0

    def _move(self, by: int) -> None:
        self.cursor = min(max(self.cursor + by, 0), max(len(self.shown) - 1, 0))

    def _mark(self) -> None:
        """Mark the row at the cursor, or take the mark from it."""
        self.marked ^= set(self.shown[self.cursor : self.cursor + 1])

    def _mark_all(self) -> None:
        """Mark all that is shown, or none of it if all is marked."""
        shown = set(self.shown)
        self.marked = self.marked - shown if shown <= self.marked else self.marked | shown


_PAGE: Final = 10

_ACTIONS: Final[Mapping[str, Callable[[Picker], None]]] = MappingProxyType(
    {
        "up": lambda picker: picker._move(-1),  # noqa: SLF001 – the class's own keys
        "down": lambda picker: picker._move(1),  # noqa: SLF001
        "pageup": lambda picker: picker._move(-_PAGE),  # noqa: SLF001
        "pagedown": lambda picker: picker._move(_PAGE),  # noqa: SLF001
        "home": lambda picker: picker._move(-len(picker.rows)),  # noqa: SLF001
        "end": lambda picker: picker._move(len(picker.rows)),  # noqa: SLF001
        "space": Picker._mark,  # noqa: SLF001
        "all": Picker._mark_all,  # noqa: SLF001
        "backspace": lambda picker: picker._type(picker.typed[:-1]),  # noqa: SLF001
        "escape": lambda picker: picker._type(""),  # noqa: SLF001
    }
)
