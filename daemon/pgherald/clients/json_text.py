"""JSON that a person may have written: read, and written again with the same values and layout.

Values, their order, the indentation, the line ends, a byte order mark and the space around the
whole are kept, by `json` of the standard library. How a letter is escaped or a number is spelt,
and blank lines, are not. A file of which a value would not survive is refused:

    text = JsonText.parse(data)
    text.value["Port"] = 5432
    data = text.written()
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from pgherald.errors import Unparsable

#: Bytes of a file; ten thousand servers are a quarter of it. What is larger is an accident.
MAX_SIZE: Final = 16 << 20

_STRING: Final = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_BREAK: Final = re.compile(r"\r\n|\n|\r")
_INDENT: Final = re.compile(r"(?<=[\r\n])[ \t]++(?![\r\n])")
_SPACED_COLON: Final = re.compile(r'"[ \t]*:[ \t]')
_SPACED_COMMA: Final = re.compile(r",[ \t]")
_DEFAULT_INDENT: Final = "    "

_ADVICE: Final = "Mend the file, or move it away; then pgherald writes a new one."


class _Lost(ValueError):
    """A value that would not be the same when it is written again."""


@dataclass(frozen=True, slots=True)
class JsonText:
    """A JSON text, parsed, and how it is laid out.

    Attributes:
        value: the outermost value, made of plain dicts and lists; it may be edited.
        source: the text as parsed, with its byte order mark if it has one.
    """

    value: Any = field(repr=False)
    source: str = field(repr=False)

    @classmethod
    def parse(cls, data: bytes) -> JsonText:
        """Parse UTF-8, with or without a byte order mark.

        Raises:
            Unparsable: it is not JSON, or `written` could not keep a value of it (programs
                differ on which counts of a key that stands twice); with the reason, which quotes
                nothing of the text, and where it is not JSON with the line.
        """
        _refuse_huge(data)
        try:
            source, bad = data.decode(), data.find(b"\0")
        except UnicodeDecodeError as exc:
            source, bad = "", exc.start
        if bad >= 0:
            line = data.count(b"\n", 0, bad) + 1
            raise Unparsable("this is not UTF-8 text", "Save the file as UTF-8.", line=line)
        value, reason, at = None, "", None
        bom = len(source) - len(source.removeprefix("\ufeff"))
        try:
            value = json.loads(
                source[bom:],
                object_pairs_hook=_object,
                parse_int=_number,
                parse_float=_number,
                parse_constant=_constant,
            )
        except json.JSONDecodeError as exc:
            # Raised below: the original error holds the whole text.
            reason, at = f"this is not JSON: {exc.msg}", exc.lineno
        except RecursionError:
            reason = _DEEP
        except _Lost as exc:
            reason = str(exc)
        if reason:
            raise unparsable(reason, at)
        return cls(value, source)

    def written(self) -> bytes:
        """The value as it is now, laid out as the source is.

        Raises:
            Unparsable: it is so large, or nested so deeply, that it could not be read again.
        """
        # pgAdmin reads the file in the machine's own encoding, so ASCII is safest.
        text = self.laid_out(self.value, ascii_only=self.source.strip("\ufeff").isascii())
        # Half a surrogate pair has no UTF-8; as backslash, u and digits it is JSON again.
        data = text.encode("utf-8", "backslashreplace")
        _refuse_huge(data)
        return data

    def laid_out(self, value: object, *, ascii_only: bool = False) -> str:
        """A value, laid out as the source is.

        Raises:
            Unparsable: it is nested so deeply that it cannot be written.
        """
        body = self.source.strip("\ufeff \t\r\n")
        before, _, after = self.source.partition(body)
        bare = re.sub(_STRING, '""', body)
        newline, indent = _found(_BREAK, bare), _found(_INDENT, bare)
        if ":" not in bare:  # an empty object shows nothing but the line ends
            newline, indent = newline or "\n", _DEFAULT_INDENT
        colon = ": " if _SPACED_COLON.search(bare) or ":" not in bare else ":"
        spaced = _SPACED_COMMA.search(bare) if "," in bare else colon == ": "
        separators = (", " if spaced and not newline else ",", colon)
        try:
            text = json.dumps(
                value,
                ensure_ascii=ascii_only,
                indent=indent if newline else None,
                separators=separators,
            )
        except RecursionError:
            raise unparsable(_DEEP) from None
        return before + text.replace("\n", newline or "\n") + after


_DEEP: Final = "objects and lists are nested too deeply"


def unparsable(reason: str, line: int | None = None) -> Unparsable:
    """The error for a file that is not as it should be."""
    return Unparsable(reason, _ADVICE, line=line)


def _refuse_huge(data: bytes) -> None:
    if len(data) > MAX_SIZE:
        raise unparsable(f"the file is larger than {MAX_SIZE >> 20} MiB")


def _found(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found.group() if found else ""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Lost("a key stands twice in one object")
    return found


def _constant(word: str) -> None:
    raise _Lost("NaN and Infinity are not JSON")


def _number(word: str) -> float:
    """A number that is written again as the same one."""
    try:
        value = int(word) if word.lstrip("-").isdigit() else float(word)
        same = word != "-0" and Decimal(word) == Decimal(repr(value))
    except (ValueError, ArithmeticError):  # longer than Python reads, or beyond all bounds
        same, value = False, 0
    if not same:
        raise _Lost("a number is too large or too exact, and would become another one")
    return value
