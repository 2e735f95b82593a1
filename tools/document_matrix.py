"""Put the table of what a person gets from pgAdmin into docs/clients.md.

python tools/document_matrix.py    # print the table; tools/generate.py writes it

The figures are measured by tests/e2e/test_pgadmin_matrix.py, which writes them into
docs/pgadmin-matrix.json with PGHERALD_RECORD=1 and compares them with it otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "clients.md"
MEASURED: Final = ROOT / "docs" / "pgadmin-matrix.json"

BEGIN: Final = "<!-- Measured by `make test-pgadmin`; written by tools/generate.py. -->\n"
END: Final = "<!-- End of what is measured. -->\n"


def page() -> str:
    """The whole page, with the table as it was measured last.

    Raises:
        ValueError: the page has no place for it.
    """
    text = PAGE.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no place for the table in {PAGE.name}")
    return before + BEGIN + table() + END + after


def table() -> str:
    """The table: a row for each kind of server and rotation, a column for each place."""
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))
    return "".join(f"{line}\n" for line in _lines(measured))


def _lines(measured: dict[str, Any]) -> Iterator[str]:
    designs = measured["designs"]
    places = list(next(iter(next(iter(designs.values())).values())))
    yield ""
    yield f"Measured with pgAdmin {measured['pgadmin']}:"
    yield ""
    yield f"| server | what changes | {' | '.join(places)} |"
    yield "|---" * (len(places) + 2) + "|"
    for design, kinds in designs.items():
        for kind, found in kinds.items():
            yield f"| {design} | {kind} | {' | '.join(found[place] for place in places)} |"
    yield ""


if __name__ == "__main__":
    print(table(), end="")
