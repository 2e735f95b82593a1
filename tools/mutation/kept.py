"""The list of mutants that no test notices, and why that is right: `tests/mutants.toml`."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: Why a mutant may live. Only those of the first kind are no mistakes at all, and do not count.
KINDS: Final = {
    "equivalent": "whatever is done, the program does the same",
    "speed": "the same comes out, sooner or later",
    "words": "only words for a person differ",
    "moment": "only shows if something else happens within microseconds",
    "elsewhere": "only shows on a system, or in a process, that these tests do not have",
    "open": "a test is missing",
}


@dataclass(frozen=True)
class Kept:
    """One that may live."""

    kind: str
    why: str


def read(path: Path) -> dict[tuple[str, str], Kept]:
    """The list, by module and name of the mutant.

    Raises:
        SystemExit: a kind that does not exist, a reason that is missing, or one listed twice.
    """
    found: dict[tuple[str, str], Kept] = {}
    for group in tomllib.loads(path.read_text(encoding="utf-8")).get("kept", []):
        if group["kind"] not in KINDS or not group["why"].strip():
            raise SystemExit(f"{path.name}: no such kind, or no reason: {group}")
        for name in group["mutants"]:
            key = (group["module"], name)
            if key in found:
                raise SystemExit(f"{path.name}: {group['module']}: {name} is listed twice")
            found[key] = Kept(group["kind"], group["why"])
    return found


@dataclass(frozen=True)
class Score:
    """What became of the mutants of a room or a module.

    Attributes:
        total: all mutants.
        killed: noticed by a test; those that never ended included.
        kinds: how many may live, by kind.
        unlisted: live, and are not on the list.
    """

    total: int
    killed: int
    kinds: Mapping[str, int]
    unlisted: int

    @property
    def percent(self) -> float:
        """Of those that are mistakes, how many are noticed."""
        mistakes = self.total - self.kinds.get("equivalent", 0)
        return 100.0 * self.killed / mistakes if mistakes else 100.0

    @property
    def raw(self) -> float:
        """The same of all, whatever the list says."""
        return 100.0 * self.killed / self.total if self.total else 100.0


def score(outcomes: Mapping[tuple[str, str], str], kept: Mapping[tuple[str, str], Kept]) -> Score:
    """Count. `outcomes` says how it went: `killed`, `time` or `survived`."""
    alive = [key for key, how in outcomes.items() if how == "survived"]
    kinds = Counter(kept[key].kind for key in alive if key in kept)
    unlisted = sum(key not in kept for key in alive)
    return Score(len(outcomes), len(outcomes) - len(alive), kinds, unlisted)


def outdated(
    outcomes: Mapping[tuple[str, str], str],
    kept: Mapping[tuple[str, str], Kept],
    modules: Iterable[str],
) -> tuple[list[str], list[str]]:
    """What is listed of these modules and is no mutant any more, and what is noticed after all."""
    tried = set(modules)
    listed = [key for key in kept if key[0] in tried]
    gone = [f"{module}: {name}" for module, name in listed if (module, name) not in outcomes]
    noticed = [
        f"{module}: {name}"
        for module, name in listed
        if outcomes.get((module, name), "survived") != "survived"
    ]
    return gone, noticed
