"""Takes out of a report whatever tells who, where or what somebody is. Pure.

Twice over: words that are known (apps, hosts, users, databases, the person's own names) each
become a word with a number, the same one everywhere, so that a report can still be followed;
and whatever looks like an address, a path or a token goes, known or not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

#: Words of our own, and others that tell nothing.
_HARMLESS: Final = frozenset(
    {"", "*", "default", "heroku", "database", "auto", "postgres", "localhost", "pgherald"}
)

#: Shorter words are replaced only where they stand alone.
_SHORT: Final = 4

#: A dotted name with such an end, or such a beginning, is a file's or a module's.
_FILES: Final = (
    "toml", "db", "json", "conf", "py", "log", "service", "txt", "lock", "xml", "plist",
)  # fmt: skip
_MODULES: Final = ("pgherald.", "heroku.com", "api.heroku.com")

_PATTERNS: Final = (
    (re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"]+"), "<url>"),
    (re.compile(r"[^\s@'\"<(,;]+@[^\s@'\">),;]+"), "<address>"),
    (re.compile(r"HRKU-[\w-]+"), "<token>"),
    (re.compile(r"(?<![\w-])[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"), "<id>"),
    (re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])"), "<ip>"),
    (re.compile(r"\[?(?:[0-9a-fA-F]{0,4}:){3,}[0-9a-fA-F]{0,4}\]?"), "<ip>"),
    (re.compile(r"(?<![\w/~<])~[/\\][^\s'\":,;)]+"), "<path>"),
    (re.compile(r"(?<![\w/~<.])/[^\s'\":,;)]+"), "<path>"),
    (re.compile(r"(?<!\w)[A-Za-z]:\\[^\s'\":,;)]+"), "<path>"),
    (re.compile(r"(?<![\w-])[A-Za-z0-9+_=-]{32,}(?![\w-])"), "<long word>"),
)
_DOTTED: Final = re.compile(r"(?<![\w.-])(?:[A-Za-z0-9_-]+\.)+[A-Za-z]{2,}(?![\w-])")


class Redactor:
    """Redacts texts, and whatever holds texts.

    Args:
        words: what is known, each with its kind, such as `("app", "shop-production")`.
        paths: files that are known, each with what to call it.
        home: the home folder.
    """

    def __init__(
        self, words: Iterable[tuple[str, str]], paths: Mapping[str, Path], home: Path
    ) -> None:
        self._names: dict[str, str] = {str(path): f"<{name}>" for name, path in paths.items()}
        self._names.setdefault(str(home), "~")
        counts: dict[str, int] = {}
        for kind, word in words:
            if word.casefold() in _HARMLESS or word in self._names:
                continue
            counts[kind] = counts.get(kind, 0) + 1
            self._names[word] = f"{kind}-{counts[kind]}"
        self._folded = {word.casefold(): name for word, name in self._names.items()}
        # The longest first: an app's name may be the beginning of another's.
        ordered = sorted(self._names, key=len, reverse=True)
        parts = [_pattern(word) for word in ordered]
        self._words = re.compile("|".join(parts), re.IGNORECASE) if parts else None

    def text(self, text: str) -> str:
        """The text without anything that tells."""
        if self._words is not None:
            text = self._words.sub(lambda found: self._folded[found[0].casefold()], text)
        for pattern, name in _PATTERNS:
            text = pattern.sub(name, text)
        return _DOTTED.sub(_unless_file, text)

    def value(self, value: Any) -> Any:
        """A JSON value with every text in it redacted; its keys are ours, and stay."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {key: self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        return value


def _pattern(word: str) -> str:
    quoted = re.escape(word)
    return quoted if len(word) >= _SHORT else rf"(?<!\w){quoted}(?!\w)"


def _unless_file(found: re.Match[str]) -> str:
    name = found[0]
    known = name.rpartition(".")[2] in _FILES or name.startswith(_MODULES)
    return name if known else "<host>"
