"""What may be seen of a servers.json: the keys and values that pgherald writes, and brackets."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from pgherald.clients import lines
from pgherald.clients.json_text import TOKEN, JsonText
from pgherald.errors import Unparsable
from pgherald.secret import MASK

#: The keys whose values are shown, and what is shown inside them; True is the value itself.
_Shown = Mapping[str, Any]

#: What may be seen of a server of ours: the keys that we write.
_OURS: Final[_Shown] = {
    **dict.fromkeys(("Name", "Group", "Service", "Host", "Port", "Username"), True),
    **dict.fromkeys(("MaintenanceDB", "DBRestriction", "DBRestrictionType", "pgherald"), True),
    "ConnectionParameters": dict.fromkeys(("sslmode", "connect_timeout", "passfile"), True),
}
_NOTHING: Final[_Shown] = {}

_SPOKEN = re.compile(r"passw(?:or)?d[\s=:'\"]", re.IGNORECASE)


def shown(text: bytes, is_ours: Callable[[Any], bool]) -> list[str]:
    """The file's lines for showing; see `TextClient.redact`.

    Args:
        text: the file. Of a broken one nobody knows whose is what.
        is_ours: tells a server of ours by its value.
    """
    try:
        parsed = JsonText.parse(text)
    except Unparsable:
        return [MASK for _ in lines.split(text)]
    root = parsed.value if isinstance(parsed.value, dict) else {}
    servers = root.get("Servers")
    numbered = servers.items() if isinstance(servers, dict) else ()
    # The number of a server that is not ours is shown, and nothing that is in it.
    known = {
        key: _OURS if is_ours(server) else _NOTHING
        for key, server in numbered
        if is_ours(server) or key.isdecimal()
    }
    masked = _masked(parsed.source, {"Servers": known})
    return list(lines.for_show(masked.encode()))


def _masked(source: str, outermost: _Shown) -> str:
    """A valid JSON text with all keys, texts and numbers masked but those that are shown."""
    inside: list[_Shown] = []
    what: Any = outermost  # about the value that comes next

    def mask(token: re.Match[str]) -> str:
        nonlocal what
        if token["bracket"]:
            if token[0] in "]}":
                inside.pop()
            else:
                inside.append(what if token[0] == "{" and isinstance(what, Mapping) else _NOTHING)
            what = None
            return token[0]
        if token["colon"]:
            what = inside[-1].get(json.loads(token["string"]))
            return f'"{MASK}"{token["colon"]}' if what is None else token[0]
        plain = what is True and not _may_tell(token[0])
        return token[0] if plain or token[0] in ("true", "false", "null") else f'"{MASK}"'

    return TOKEN.sub(mask, source)


def _may_tell(token: str) -> bool:
    """Whether a value is a text that may quote a password."""
    text = str(json.loads(token))
    return bool(_SPOKEN.search(text)) or ("://" in text and "@" in text)
