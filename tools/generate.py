"""Write the files that are generated from the program, or check that they are current.

python tools/generate.py            # write what is out of date
python tools/generate.py --check    # write nothing; exit 1 if anything is out of date
"""

from __future__ import annotations

import argparse
import runpy
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from pgherald.config import generate as config
from pgherald.service import systemd

ROOT: Final = Path(__file__).resolve().parent.parent

#: The neighbour of this script that makes the documents of the commands.
COMMANDS: Final = ROOT / "tools" / "document_commands.py"

#: The one that puts what was measured with pgAdmin into its page.
MATRIX: Final = ROOT / "tools" / "document_matrix.py"


def document(script: Path, name: str) -> str:
    """What a neighbour of this script makes under this name."""
    return str(runpy.run_path(str(script))[name]())


#: Each generated file with the function that gives its text.
FILES: Final[Mapping[str, Callable[[], str]]] = MappingProxyType(
    {
        "config.example.toml": config.example,
        "docs/clients.md": lambda: document(MATRIX, "page"),
        "docs/commands.md": lambda: document(COMMANDS, "commands"),
        "docs/configuration.md": config.document,
        "man/pgherald.1": lambda: document(COMMANDS, "manual"),
        "systemd/pgherald.service": systemd.user_unit,
        "systemd/pgherald@.service": systemd.system_unit,
    }
)


def outdated(root: Path) -> dict[Path, bytes]:
    """The files that do not have the right content, with that content."""
    wanted = {root / name: text().encode() for name, text in FILES.items()}
    return {
        path: content
        for path, content in wanted.items()
        if not path.is_file() or path.read_bytes() != content
    }


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, only compare")
    check = parser.parse_args(arguments).check
    stale = outdated(root)
    for path, content in stale.items():
        print(f"{'out of date' if check else 'written'}: {path.relative_to(root)}")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
