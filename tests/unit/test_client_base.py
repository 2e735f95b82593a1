"""What all editors share: words that others read, and nothing that shows a secret."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import re
from typing import Any

import pytest

from pgherald import clients
from pgherald.clients.base import Edit, Held
from pgherald.clients.block import split
from pgherald.clients.json_text import JsonText
from pgherald.clients.pgadmin_database import ConfigDatabase
from pgherald.clients.sections import sort
from pgherald.secret import Secret
from support.pictures import Books

_FILE = (
    b"# CANARY\n# >>> pgherald: x\n# CANARY\n# pgherald: shop/DATABASE\n[shop]\npassword=CANARY\n"
    b"odd=CANARY\n[CANARY]\n# <<< pgherald: x\n# CANARY\n"
)


@pytest.mark.parametrize(
    "made",
    [
        Edit(b"CANARY"),
        Held(password=Secret("CANARY")),
        split(_FILE),
        sort(split(_FILE), {}),
        sort(split(_FILE), {}).sections,
        JsonText.parse(b'{"CANARY": 1, "a": ["CANARY", {"CANARY": "CANARY"}]}'),
        ConfigDatabase(Books().content, None),
    ],
    ids=lambda made: type(made).__name__,
)
def test_what_holds_a_files_text_does_not_show_it(made: Any) -> None:
    """In a log or a traceback no part of an editor shows what it was given."""
    assert "CANARY" not in repr(made)


#: Of a file's bytes only these may be shown: our comments, line ends, and a section's name.
_SHOWN = {"Slot.comment", "Parts.bom", "Parts.eol", "Section.header", "_Want.header"}  # fmt: skip


def test_no_field_that_holds_a_files_text_is_shown() -> None:
    """Bytes and rows stay out of `repr`, in every type of every editor."""
    shown = set()
    for module in pkgutil.iter_modules(clients.__path__):
        found = vars(importlib.import_module(f"{clients.__name__}.{module.name}"))
        for each in found.values():
            if isinstance(each, type) and dataclasses.is_dataclass(each):
                shown |= {
                    f"{each.__name__}.{field.name}"
                    for field in dataclasses.fields(each)
                    if field.repr and re.search(r"bytes|Row\b|Any", str(field.type))
                }
    assert shown == _SHOWN
