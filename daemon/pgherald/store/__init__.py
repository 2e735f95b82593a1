"""What pgherald remembers between runs."""

from pgherald.store.background import BackgroundStore
from pgherald.store.records import DatabaseState, Record, Trouble
from pgherald.store.sqlite import Store
from pgherald.store.worker import FileStore

__all__ = ["BackgroundStore", "DatabaseState", "FileStore", "Record", "Store", "Trouble"]
