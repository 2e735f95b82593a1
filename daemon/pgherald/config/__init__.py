"""The configuration: one schema for reading it, checking it, and documenting it.

    config = load(None, os.environ)

`schema` says what the file may hold, and what comes out; `load` reads it, by way of `tables` (each table by
itself) and `build` (one against another), finds the line of a problem by `lines`, and refuses
what somebody else could have written. `generate` writes the example file and the documents,
and `edit` changes a file that is there.
"""

from __future__ import annotations

from pgherald.config.load import load, loads, refuse_strangers
from pgherald.config.schema import (
    Account,
    ClientSetting,
    Config,
    DiscoverRule,
    Notifications,
    Rows,
    database_for,
)
from pgherald.config.values import TokenKind, TokenSpec

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
