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
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from pgherald.errors import Unparsable

#: Bytes of a file; ten thousand servers are a quarter of it. What is larger is an accident.
MAX_SIZE: Final = 16 << 20

#: Objects and lists in each other. pgAdmin's own files have four levels; what is deeper than
#: this is an attack or an accident, and Python's stack is not the place to find out.
MAX_DEPTH: Final = 200

#: Digits in one number. Python refuses to read longer integers, at a length that depends on
#: its settings; this is the lowest that can be set.
MAX_NUMBER: Final = 640

_STRING: Final = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'

#: A text with the colon that makes it a key, a bracket, or another value. Of valid JSON it
#: leaves out white space, colons and commas. Possessive quantifiers keep each match linear.
TOKEN: Final = re.compile(
    rf"(?P<string>{_STRING})(?P<colon>[ \t\r\n]*+:)?+"
    r'|(?P<bracket>[\[\]{}])|[^ \t\r\n,:\[\]{}"\ufeff]++'
)

_BREAK: Final = re.compile(r"\r\n|\n|\r")
_INDENT: Final = re.compile(r"(?<=[\r\n])[ \t]++(?![\r\n])")
_SPACED_COLON: Final = re.compile(r'"[ \t]*:[ \t]')
_SPACED_COMMA: Final = re.compile(r",[ \t]")
_DEFAULT_INDENT: Final = "    "


@dataclass(frozen=True, slots=True)
class JsonText:
    """A JSON text, parsed, and how it is laid out.

    Attributes:
        value: the outermost value, made of plain dicts and lists; it may be edited.
        source: the text as parsed, with its byte order mark if it has one.
        places: where in the source the outermost object's keys stand.
    """

    value: Any = field(repr=False)
    source: str = field(repr=False)
    places: Mapping[str, int] = field(repr=False)

    @classmethod
    def parse(cls, data: bytes) -> JsonText:
        """Parse UTF-8, with or without a byte order mark.

        Raises:
            Unparsable: it is not JSON, or `written` could not keep a value of it; with the
                line and the reason, which quotes nothing of the text.
        """
        _refuse_huge(data)
        try:
            source, bad = data.decode(), data.find(b"\0")
        except UnicodeDecodeError as exc:
            source, bad = "", exc.start
        if bad >= 0:
            line = data.count(b"\n", 0, bad) + 1
            raise Unparsable("this is not UTF-8 text", "Save the file as UTF-8.", line=line)
        value, wrong = None, None
        bom = len(source) - len(source.removeprefix("\ufeff"))
        try:
            value = json.loads(source[bom:])
        except json.JSONDecodeError as exc:
            # Raised below: the original error holds the whole text.
            wrong = (f"this is not JSON: {exc.msg}", bom + exc.pos)
        except (RecursionError, ValueError):  # too deep, too long a number
            _places(source)  # names the line
            raise
        if wrong:
            raise unparsable(source, *wrong)
        return cls(value, source, _places(source))

    def written(self) -> bytes:
        """The value as it is now, laid out as the source is.

        Raises:
            Unparsable: it is so large that `parse` would refuse it.
        """
        before, body, after = self._framed()
        bare = re.sub(_STRING, '""', body)
        newline, indent = _found(_BREAK, bare), _found(_INDENT, bare)
        if ":" not in bare:  # an empty object shows nothing but the line ends
            newline, indent = newline or "\n", _DEFAULT_INDENT
        colon = ": " if _SPACED_COLON.search(bare) or ":" not in bare else ":"
        spaced = _SPACED_COMMA.search(bare) if "," in bare else colon == ": "
        text = json.dumps(
            self.value,
            # pgAdmin reads the file in the machine's own encoding, so ASCII is safest.
            ensure_ascii=body.isascii(),
            indent=indent if newline else None,
            separators=(", " if spaced and not newline else ",", colon),
        )
        whole = before + text.replace("\n", newline or "\n") + after
        # Half a surrogate pair has no UTF-8; as backslash, u and digits it is JSON again.
        data = whole.encode("utf-8", "backslashreplace")
        _refuse_huge(data)
        return data

    def _framed(self) -> tuple[str, str, str]:
        """The byte order mark and space before the value, the value, the space behind it."""
        body = self.source.strip("\ufeff \t\r\n")
        before, _, after = self.source.partition(body)
        return before, body, after


_ADVICE: Final = "Mend the file, or move it away; then pgherald writes a new one."


def unparsable(source: str, reason: str, at: int) -> Unparsable:
    """The error for something wrong at that index of a text."""
    return Unparsable(reason, _ADVICE, line=source.count("\n", 0, at) + 1)


def _refuse_huge(data: bytes) -> None:
    if len(data) > MAX_SIZE:
        raise Unparsable(f"the file is larger than {MAX_SIZE >> 20} MiB", _ADVICE, line=1)


def _found(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found.group() if found else ""


def _places(source: str) -> dict[str, int]:
    """Where the outermost object's keys stand, once every value is sure to survive.

    Raises:
        Unparsable: a key stands twice in one object (programs differ on which of them counts),
            a number would become another, or the nesting is too deep.
    """
    outermost: dict[str, int] = {}
    inside: list[dict[str, int]] = []
    for token in TOKEN.finditer(source):
        if token["bracket"]:
            if token[0] in "]}":
                inside.pop()
                continue
            if len(inside) == MAX_DEPTH:
                raise unparsable(source, "objects and lists are nested too deeply", token.start())
            inside.append({} if inside else outermost)
        elif token["colon"]:
            key = json.loads(token["string"])
            if key in inside[-1]:
                raise unparsable(source, "a key stands twice in one object", token.start())
            inside[-1][key] = token.start()
        elif not token["string"] and (reason := _lost(token[0])):
            raise unparsable(source, reason, token.start())
    return outermost


def _lost(word: str) -> str | None:
    """Why a number would not be the same when it is written again; None when it would be."""
    if word in ("NaN", "Infinity", "-Infinity"):
        return "NaN and Infinity are not JSON"
    if word in ("true", "false", "null"):
        return None
    if len(word) > MAX_NUMBER:
        return "a number is too long"
    if word.lstrip("-").isdigit():
        same = word != "-0"
    else:
        try:
            same = Decimal(word) == Decimal(repr(float(word)))
        except ArithmeticError:  # an exponent beyond all bounds
            same = False
    return None if same else "a number is too large or too exact, and would become another one"
