"""What all editors share: words that others read, and nothing that shows a secret."""

from __future__ import annotations

from typing import Any

import pytest

from pgherald.clients.base import Action, Edit, Held
from pgherald.clients.block import split
from pgherald.clients.json_text import Document
from pgherald.clients.pgadmin_picture import opened
from pgherald.clients.sections import sort
from pgherald.secret import MASK, Secret
from support.pictures import Books


def test_the_words_of_an_action_are_stable() -> None:
    """`plan --json` and the texts of the commands use them."""
    assert [str(action) for action in Action] == ["add", "update", "remove", "adopt"]


def test_a_mask_tells_nothing() -> None:
    """Whatever it stands for, it has the same length and no letter."""
    assert MASK == "••••••"


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
        Document.parse(b'{"a": ["CANARY", {"b": "CANARY"}]}').root,
        opened(Books().content, None),
    ],
    ids=lambda made: type(made).__name__,
)
def test_what_holds_a_files_text_does_not_show_it(made: Any) -> None:
    """In a log or a traceback no part of an editor shows what it was given."""
    assert "CANARY" not in repr(made)
