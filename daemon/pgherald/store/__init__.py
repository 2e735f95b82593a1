"""What pgherald remembers between runs."""

from pgherald.store.background import BackgroundStore
from pgherald.store.records import Alert, DatabaseState, Record, Requests
from pgherald.store.sqlite import Store

__all__ = ["Alert", "BackgroundStore", "DatabaseState", "Record", "Requests", "Store"]
