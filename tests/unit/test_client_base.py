"""What all editors share: words that others read, and nothing that shows a secret."""

from __future__ import annotations

from typing import Any

import pytest

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
