"""Changing a configuration as a person would."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgherald.config.edit import NewDatabase, Wishes, edited, fresh
from pgherald.errors import ConfigError

BLOG = NewDatabase("blog")

MINE = """\
# mine
poll_interval = "90s"  # rarely

[[databases]]
app = "shop"  # the shop
# it matters

# My second one
[[databases]]
app = "wiki"

# who I am
[heroku]
token = "auto"  # the CLI
later = 1  # a key of a version to come

[clients.pgpass]

[notifications]
urls = ["slack://CANARY"]
"""


def test_a_new_configuration() -> None:
    """A new configuration says what was chosen, and nothing that is the default anyway."""
    wishes = Wishes(
        add=(BLOG, NewDatabase("shop", "READER", service="reader")),
        clients={"pgadmin": None, "service_file": None, "pgpass": r"C:\x y"},
        desktop=True,
    )
    text = fresh(wishes)
    assert tomllib.loads(text) == {
        "heroku": {"token": "auto"},
        "databases": [
            {"app": "blog"},
            {"app": "shop", "attachment": "READER", "service": "reader"},
        ],
        "clients": {"pgadmin": {}, "service_file": {}, "pgpass": {"path": r"C:\x y"}},
        "notifications": {"desktop": True},
    }
    assert text.startswith("# pgherald's configuration")
    assert r"path = 'C:\x y'" in text


def test_values() -> None:
    """Single values change in their place, with the comment beside them; new tables come last."""
    new = edited(MINE, Wishes(token="netrc", clients={"pgadmin": None}, desktop=False))
    assert 'token = "netrc"  # the CLI\nlater = 1  # a key' in new
    assert tomllib.loads(new)["clients"] == {"pgpass": {}, "pgadmin": {}}
    assert tomllib.loads(new)["notifications"] == {"urls": ["slack://CANARY"], "desktop": False}
    assert new.startswith(MINE.partition("[heroku]")[0])


def test_the_first_database_beside_rules() -> None:
    """In a configuration of rules the first database comes before the clients and their comment."""
    text = "[[discover]]\n\n# all of them\n[clients.pgpass]\n"
    assert edited(text, Wishes(add=(BLOG,))) == (
        '[[discover]]\n\n[[databases]]\napp = "blog"\n\n# all of them\n[clients.pgpass]\n'
    )


@pytest.mark.parametrize(
    "text",
    [
        'databases = [{app = "shop"}]  # one\nclients.pgpass = {}\n',
        'clients = {pgpass = {}}\n[[databases]]\napp = "shop"\n',
        '[[databases]]\napp = "shop"\n[clients]\npgpass = {}',
        '[[clients.pgpass]]\npath = "a"\n[[databases]]\napp = """\nshop"""\n',
        '[[databases]]\r\napp = "shop"\r\n\r\n[clients.pgpass]\r\n',
        '[clients.pgpass]\n[[databases]]\napp = "shop"\n[heroku]\n[[databases]]\napp = "x"\n',
        'clients.pgpass.path = "x"\n[[databases]]\napp = "shop"',
    ],
)
def test_other_ways_to_write_it(text: str) -> None:
    """However the tables are written, databases come and go, and line ends stay as they are."""
    new = edited(text, Wishes(add=(BLOG,), drop=frozenset({0})))
    before, after = tomllib.loads(text), tomllib.loads(new)
    assert after.pop("databases") == [*before.pop("databases")[1:], {"app": "blog"}]
    assert after == before
    assert new.count("\r\n") == (new.count("\n") if "\r\n" in text else 0)


NAMES = st.sampled_from(["shop", "wiki", "blog", "forum", "a-b"])
GAPS = st.sampled_from(["", "\n", "# a comment\n", "\n# above\n", "# below\n\n", "\n\n"])


@given(
    st.lists(st.tuples(NAMES, GAPS, GAPS), max_size=4),
    st.permutations(["[heroku]\n", "[notifications]\n", "[clients.pgpass]\n"]),
    st.lists(NAMES, max_size=3),
    st.sets(st.integers(0, 3)),
    st.integers(0, 3),
)
def test_whatever_the_file(
    tables: list[tuple[str, str, str]],
    others: list[str],
    add: list[str],
    drop: set[int],
    place: int,
) -> None:
    """Whatever stands where, exactly what was wished for changes, and no other comment goes."""
    blocks = [f"{gap}[[databases]]\n{inner}app = {name!r}\n" for name, gap, inner in tables]
    text = "# top\n" + "".join([*others[:place], *blocks, *others[place:]])
    dropped = frozenset(number for number in drop if number < len(tables))
    wishes = Wishes(add=tuple(map(NewDatabase, add)), drop=dropped)
    before, new = tomllib.loads(text), edited(text, wishes)
    kept = [table for n, table in enumerate(before.pop("databases", [])) if n not in dropped]
    after = tomllib.loads(new)
    assert after.pop("databases", []) == [*kept, *({"app": name} for name in add)]
    assert after == before
    assert new.startswith("# top\n")
    if not dropped:
        assert new.count("#") == text.count("#")


def test_what_cannot_be_followed() -> None:
    """Where other lines would move, nothing is changed, and the lines are there to copy."""
    text = '[[databases]]\napp = "a"\n[heroku]\n[[databases]]\napp = "b"\n[clients.pgpass]\n'
    assert tomllib.loads(edited(text, Wishes(add=(BLOG,))))["databases"][2] == {"app": "blog"}
    with pytest.raises(ConfigError) as caught:
        edited(text, Wishes(token="netrc", add=(BLOG,)))
    assert caught.value.problems == (
        "  [heroku]",
        '  token = "netrc"',
        "  [[databases]]",
        '  app = "blog"',
    )
