"""By what pgherald knows its own files again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgherald.service.mark import Standing, marked, standing

UNIT = "[Service]\nExecStart=/usr/bin/pgherald run\n"


@pytest.mark.parametrize(
    ("text", "whose"),
    [
        (None, Standing.MISSING),
        ("", Standing.FOREIGN),
        (UNIT, Standing.FOREIGN),
        (marked(UNIT), Standing.OURS),
        (marked(UNIT) + "Nice=5\n", Standing.EDITED),
        (marked(UNIT).replace("/usr", "/opt"), Standing.EDITED),
        ("# mine\n" + marked(UNIT), Standing.EDITED),
    ],
)
def test_whose_a_file_is(text: str | None, whose: Standing) -> None:
    """Ours is what has our mark and is as it was; everything else is a person's."""
    assert standing(text) is whose
    assert whose.may_go is (whose in {Standing.MISSING, Standing.OURS})


def test_a_mark_in_xml() -> None:
    """In XML the mark comes after the declaration, as a comment."""
    text = marked('<?xml version="1.0"?>\n<a/>\n', line=1, begin="<!-- ", end=" -->")
    first, second, third = text.splitlines()
    assert (first, third) == ('<?xml version="1.0"?>', "<a/>")
    assert second.startswith("<!-- Written by pgherald service install")
    assert second.endswith(" -->")
    assert standing(text) is Standing.OURS


@given(st.text(st.characters(exclude_characters="\r", codec="utf-8")), st.integers(0, 3))
def test_any_text_is_known_again(text: str, line: int) -> None:
    """Whatever was marked is ours, and one letter more makes it a person's."""
    given_text = text + "\n"
    assert standing(marked(given_text, line=line)) is Standing.OURS
    assert standing(marked(given_text, line=line) + "x") is Standing.EDITED
