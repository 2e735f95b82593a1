"""The configuration: one schema for reading it, checking it, and telling people about it.

    config = load(None, os.environ)

`schema` says what the file may hold; `load` reads it, by way of `structure` (each table
by itself) and `build` (one against another); `lines` finds the line of a problem;
`trust` refuses what somebody else could have written;
`generate` writes the example file and the documents, and `edit` changes a file that is there.
`settings` is what comes out.
"""

from __future__ import annotations

from pgherald.config.load import load, loads
from pgherald.config.settings import (
    Account,
    ClientSetting,
    Config,
    DiscoverRule,
    Notifications,
    Rows,
    TokenKind,
    TokenSpec,
    database_for,
)
from pgherald.config.trust import refuse_strangers

__all__ = [
    "Account",
    "ClientSetting",
    "Config",
    "DiscoverRule",
    "Notifications",
    "Rows",
    "TokenKind",
    "TokenSpec",
    "database_for",
    "load",
    "loads",
    "refuse_strangers",
]
