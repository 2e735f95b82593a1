"""Programs that stand on PATH in place of real ones, and note how they were called.

programs = StandIns(tmp_path / "bin")
programs.put("systemctl", {"--user restart": Answer(1, err="Job failed.")})
...
assert programs.calls == [["systemctl", "--user", "daemon-reload"], ...]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SCRIPT = """\
#!{python} -S
import json, os, sys
words = [{name!r}, *sys.argv[1:]]
with open({calls!r}, "a") as file:
    file.write(json.dumps({{"argv": words, "environ": dict(os.environ)}}) + "\\n")
line = " ".join(words[1:])
for start, answer in json.loads({answers!r}).items():
    if line.startswith(start):
        sys.stdout.write(answer["out"])
        sys.stderr.write(answer["err"])
        sys.exit(answer["code"])
"""


@dataclass(frozen=True)
class Answer:
    """What a program says when its arguments begin with certain words."""

    code: int = 0
    out: str = ""
    err: str = ""


class StandIns:
    """A folder for PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._calls = folder / "calls.jsonl"

    def put(self, name: str, answers: Mapping[str, Answer] | None = None) -> None:
        """Put a program there; what is not foreseen succeeds in silence."""
        told = json.dumps({start: asdict(answer) for start, answer in (answers or {}).items()})
        program = self.folder / name
        program.write_text(
            SCRIPT.format(python=sys.executable, name=name, calls=str(self._calls), answers=told)
        )
        program.chmod(0o755)

    @property
    def calls(self) -> list[list[str]]:
        """How they were called, the program's name first."""
        return [call["argv"] for call in self._noted()]

    @property
    def environments(self) -> list[dict[str, str]]:
        """What each of them saw of the environment."""
        return [call["environ"] for call in self._noted()]

    def _noted(self) -> list[dict[str, Any]]:
        if not self._calls.exists():
            return []
        return [json.loads(line) for line in self._calls.read_text().splitlines()]
