"""Everything that can be wrong with a configuration, and how it is said."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgherald.config.build import Builder
from pgherald.config.paths import Surroundings
from pgherald.config.schema import Root
from pgherald.config.tables import parts, read, sections
from pgherald.errors import ConfigError
from support.configs import DATABASES, HOME, SMALLEST, load_text, problems

GOLDEN = Path(__file__).parents[1] / "golden" / "configuration-problems.txt"


def refused() -> Iterator[Any]:
    """Each configuration, with what is said of its lines."""
    for block in GOLDEN.read_text().split("\n\n")[1:]:
        title, *written = block.strip("\n").split("\n")
        text = "".join(f"{line.partition('  #! ')[0]}\n" for line in written)
        said = [
            f"{n}: {told}" for n, line in enumerate(written, 1) for told in line.split("  #! ")[1:]
        ]
        yield pytest.param(text, said, id=title.removeprefix("# "))


@pytest.mark.parametrize(("text", "said"), list(refused()))
def test_each_problem_is_named_with_its_line(tmp_path: Path, text: str, said: list[str]) -> None:
    """One run names everything that is wrong, in the file's order, and never a secret."""
    assert problems(tmp_path, text) == said
    assert "CANARY" not in "".join(said)


def test_brackets_that_are_nested_too_deeply(tmp_path: Path) -> None:
    """A file that would exhaust the reader's stack is refused as any other that is no TOML."""
    assert problems(tmp_path, f"a = {'[' * 5000}") == ["1: brackets are nested too deeply"]


@pytest.mark.parametrize("host", ["http://10.0.0.1", "http://[::", "localhost", ""])
def test_only_this_machine_may_be_asked_quickly(tmp_path: Path, host: str) -> None:
    """The short intervals are for a simulator on loopback, and for nothing else."""
    found = problems(tmp_path, f"poll_interval = 1\n{SMALLEST}", {"HEROKU_HOST": host})
    assert len(found) == 1
    assert "at least 5 seconds" in found[0]
    env = {"HEROKU_HOST": "http://127.0.0.1:5000"}
    found = problems(tmp_path, f"poll_interval = 0.1\n{SMALLEST}", env)
    assert len(found) == 1
    assert "at least 0.2 seconds" in found[0]


@pytest.mark.parametrize(
    "text",
    [
        '[heroku]\ntoken = "CANARY-1"\n',
        '[[databases]]\napp = "postgres://u:CANARY-1@host/db"\n',
        f'[[databases]]\napp = "CANARY-{"x" * 60}"\n',
        '[notifications]\nurls = ["CANARY-1", 5, "slack:CANARY-2"]\n',
        '[[notifications]]\nurls = ["slack://CANARY-1"]\n',
        '[[discover]]\ninclude = ["eve@CANARY-1"]\n',
        'heroku = "HRKU-CANARY-1"\n',
        '[heroku]\ntoken = "HRKU-CANARY-1\n',
    ],
)  # fmt: skip
def test_no_secret_leaves_the_file(tmp_path: Path, text: str) -> None:
    """Neither the message nor the traceback holds what might be a secret."""
    with pytest.raises(ConfigError) as caught:
        load_text(tmp_path, text)
    report = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert "CANARY" not in report


def test_two_clients_never_share_a_file(tmp_path: Path) -> None:
    """One file has one client, however its path is written; both lines are named."""
    (tmp_path / "link").symlink_to(tmp_path / "real")
    text = f"""\
{DATABASES}[[clients.pgpass]]
path = "real"
[[clients.pgpass]]
path = "link"
[clients.service_file]
path = "sub/../real"
"""
    assert problems(tmp_path, text) == [
        f"4: two clients write to {tmp_path / 'real'} (see line 8)",
        f"6: two clients write to {tmp_path / 'link'} (see line 8)",
    ]


_SCALARS = st.one_of(
    st.none().map(lambda _: True),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["auto", "a", "DATABASE", "require", "/x", "env:A", "service"]),
)
_NAMES = st.sampled_from(
    sorted({name for _, s in sections(Root) for name in parts(s.table)} | {*parts(Root), "other"})
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.dictionaries(_NAMES, _VALUES, max_size=6))
def test_any_data_is_either_right_or_explained(data: dict[str, Any], tmp_path: Path) -> None:
    """Whatever a file holds, there is a configuration or a list of problems, never a crash."""
    root, found = read(Root, data)
    builder = Builder(root, data, Surroundings(tmp_path / "config.toml", HOME, "linux"))
    config = builder.build()
    assert all(problem.message for problem in [*found, *builder.problems])
    if not found and not builder.problems:
        assert config.clients
        assert config.databases or config.discover
