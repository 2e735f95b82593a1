"""What pgherald remembers between runs."""

from pgherald.store.records import DatabaseState, Record, Trouble
from pgherald.store.sqlite import Store

__all__ = ["DatabaseState", "Record", "Store", "Trouble"]
