"""What pgherald remembers between runs."""

from pgherald.store.background import BackgroundStore
from pgherald.store.records import DatabaseState, Record, Requests, Trouble
from pgherald.store.sqlite import Store

__all__ = ["BackgroundStore", "DatabaseState", "Record", "Requests", "Store", "Trouble"]
