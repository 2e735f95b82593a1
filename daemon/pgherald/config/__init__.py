"""The configuration: one schema for reading it, checking it, and documenting it.

    config = load(None, os.environ)

`schema` says what the file may hold, and what comes out; `load` reads it, by way of `tables` (each table by
itself) and `build` (one against another), finds the line of a problem, and refuses
what somebody else could have written. `generate` writes the example file and the documents,
and `edit` changes a file that is there.
"""

from __future__ import annotations

from pgherald.config.load import load as load
from pgherald.config.load import loads as loads
from pgherald.config.load import refuse_strangers as refuse_strangers
from pgherald.config.schema import Account as Account
from pgherald.config.schema import ClientSetting as ClientSetting
from pgherald.config.schema import Config as Config
from pgherald.config.schema import DiscoverRule as DiscoverRule
from pgherald.config.schema import Notifications as Notifications
from pgherald.config.schema import Rows as Rows
from pgherald.config.schema import database_for as database_for
from pgherald.config.values import TokenKind as TokenKind
from pgherald.config.values import TokenSpec as TokenSpec
