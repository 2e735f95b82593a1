"""Everything that can be wrong with a configuration, and how it is said."""

from __future__ import annotations

import traceback
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
from support.configs import CLIENTS, DATABASES, HOME, SMALLEST, load_text, problems

NOT_SHOWN = "what stands here is not shown"
FORMS = '"auto", "env:NAME", "file:PATH", "command:COMMAND", "keyring:SERVICE" or "netrc"'


def test_all_problems_at_once_in_the_files_order(tmp_path: Path) -> None:
    """One run tells everything: keys, values and what does not fit together, line by line."""
    text = """\
poll_intervall = "60s"
log_level = "INFO"
[heroku]
token = "atuo"
[[databases]]
attachment = "database"
prob = "off"
[[databases]]
app = "x"
poll_interval = 5
[[databases]]
app = "y"
[clients.servers_json]
path = "x.json"
[[databases]]
app = "y"
[notifications]
desktop = "yes"
[[discover]]
include = [
    "a",
    5,
    "B*"]
"""
    assert problems(tmp_path, text) == [
        '1: unknown key "poll_intervall"; did you mean "poll_interval"?',
        (
            '2: log_level must be "debug", "info", "warning" or "error", not "INFO"; '
            'did you mean "info"?'
        ),
        f'4: token must be {FORMS}; {NOT_SHOWN}; did you mean "auto"?',
        "5: app is missing",
        (
            "6: attachment must be an attachment's name (upper-case letters, digits and "
            'underscores), not "database"; did you mean "DATABASE"?'
        ),
        '7: unknown key "prob" in [[databases]]; did you mean "probe"?',
        (
            '10: unknown key "poll_interval" in [[databases]]; it belongs at the top level, '
            "before the first [section]"
        ),
        (
            '13: rows = "service" points into a service file: add [clients.service_file], '
            'or write rows = "host"'
        ),
        "15: y/DATABASE is here twice (see line 11)",
        '18: desktop must be true or false, without quotes, not "yes"',
        "22: include must be a text in quotes, not 5",
        (
            '23: include must be a pattern of app names such as "shop-*" (lower-case letters, '
            'digits, dashes, * and ?), not "B*"'
        ),
    ]


def test_the_error_reads_as_a_whole(tmp_path: Path) -> None:
    """The message counts the problems, names file and line of each, and says what helps."""
    with pytest.raises(ConfigError) as caught:
        load_text(tmp_path, f"colour = 1\n{SMALLEST}")
    known = (
        "poll_interval, full_sweep, state_dir, log_level, heroku, accounts, databases, discover, "
    )
    assert str(caught.value).splitlines() == [
        "The configuration has a problem",
        (
            f'{tmp_path / "config.toml"}:1: unknown key "colour"; '
            f"known are {known}clients, notifications, metrics, hooks"
        ),
        "`pgherald config example` prints every key with its meaning.",
    ]
    with pytest.raises(ConfigError, match="has 2 problems"):
        load_text(tmp_path, f"colour = 1\nsize = 2\n{SMALLEST}")


APP = "must be a Heroku app's name (lower-case letters, digits and dashes), not"
NAME = "must be an attachment's name (upper-case letters, digits and underscores), not"
AUTH = 'must be "scram-sha-256", "md5" or "password", or several with commas between them, not'
TIME = 'must be seconds, or a text such as "90s", "5m" or "1h", not'
SPARE = (
    "must be at least 5 seconds, to spare Heroku's hourly allowance of requests, "
    "and at most 24 hours"
)
SWEEP = "must be more than no time, and at most 24 hours"
SHARE = 'must be a text from "1%" to "100%", not'
COUNT = "must be a number from 0 to 100, without quotes, not"
VARIABLE = 'must not start with a variable: only "~/", the home folder, is expanded'
CONTROL = "must not hold a line break or another control character"

#: Tables with a key to be filled in, by that key's name.
TABLES = {
    "app": f"{CLIENTS}[[databases]]\n",
    "poll_interval": "",
    "full_sweep": "",
    "request_share": f"{SMALLEST}[heroku]\n",
    "events_limit": f"{SMALLEST}[heroku]\n",
    "path": f"{DATABASES}[clients.pgpass]\n",
}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("app", '""', "must not be empty"), ("app", "['x']", "must be a text in quotes, not an array"), ("app", r'"a\nb"', CONTROL), ("app", '"shop.example"', f'{APP} "shop.example"'), ("account", '"a b"', 'must be letters, digits, dashes and underscores, not "a b"'), ("service", '"a]"', 'must not hold a "]", which ends a section\'s name in the service file'), ("service", r'"a\u2028b"', CONTROL), ("probe", "false", 'must be "require", "prefer" or "off", not false'), ("poll_interval", "true", f"{TIME} true"), *[("poll_interval", value, SPARE) for value in ("4.9", "nan", "-60", '"25h"')], *[("request_share", value, f"{SHARE} {value}") for value in ("0.25", '"0%"', '"101%"')], ("path", '"$HOME/x"', VARIABLE),
    ],
)  # fmt: skip
def test_wrong_values(tmp_path: Path, key: str, value: str, message: str) -> None:
    """Each key says what it wants, and what it got instead; a number is a number, within limits."""
    before = TABLES.get(key, f'{CLIENTS}[[databases]]\napp = "shop"\n')
    after = SMALLEST if not before else ""
    found = problems(tmp_path, f"{before}{key} = {value}\n{after}")
    line = before.count("\n") + 1
    assert found == [f"{line}: {key} {message}"]


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


LITERAL = (
    "must not be the token itself: this file gets copied, shared and committed. "
    'Put it into a file that only you can read and write token = "file:PATH", '
    'or use "auto", "env:NAME", "command:COMMAND" or "keyring:SERVICE"'
)
UUID = "01234567-89ab-cdef-0123-456789abcdef"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ('"HRKU-CANARY-1"', LITERAL),
        (f'"env:{UUID}"', LITERAL),
        ('"command:echo HRKU-CANARY-0123456789abcdef"', LITERAL),
        ('"CANARY-of-no-known-form"', f"must be {FORMS}; {NOT_SHOWN}"),
        ('"keyrin:CANARY"', f'must be {FORMS}; {NOT_SHOWN}; did you mean "keyring"?'),
        ('["CANARY"]', f"must be a text: {FORMS}"),
        ('"auto:CANARY"', 'must be just "auto", with nothing after it'),
        ('"env:"', 'says nothing after "env:"'),
        ('"env:$CANARY"', 'must name an environment variable after "env:", without a $'),
        ('"keyring:/CANARY"', 'must be "keyring:SERVICE" or "keyring:SERVICE/USER"'),
        ('"command:echo \'CANARY"', "cannot be split into words: no closing quotation"),
        (
            '"file:$HOME/CANARY"',
            'must not start with a variable: only "~/", the home folder, is expanded',
        ),
    ],
)
def test_wrong_tokens_are_never_shown(tmp_path: Path, value: str, message: str) -> None:
    """Whatever is wrong with a token, it may be one: the message does without it."""
    found = problems(tmp_path, f"{SMALLEST}[heroku]\ntoken = {value}\n")
    assert found == [f"5: token {message}"]


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


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[clients.pgpass]\n", ["1: there is no database: add [[databases]] or [[discover]]"]),
        (
            "discover = []\ndatabases = []\n[clients.pgpass]\n",
            ["1: there is no database: add [[databases]] or [[discover]]"],
        ),
        *[
            (
                text,
                [
                    (
                        "1: there is no client, so nothing would be kept up to date: "
                        "add [clients.service_file], for a start"
                    )
                ],
            )
            for text in (
                DATABASES,
                f"{DATABASES}[clients]\n",
                f"{DATABASES}[clients]\npgpass = []\n",
            )
        ],
        (
            f'{SMALLEST}[[accounts]]\nname = "a"\ntoken = "auto"\n[heroku]\n',
            [
                (
                    "7: [heroku] and [[accounts]] exclude each other: make this one of "
                    "[[accounts]] too (see line 4)"
                )
            ],
        ),
        (f"{SMALLEST}[[accounts]]\n", ["4: name is missing", "4: token is missing"]),
        (
            (
                f'{SMALLEST}[[accounts]]\nname = "a"\ntoken = "auto"\n'
                '[[accounts]]\ntoken = "auto"\nname = "a"\n'
            ),
            ['9: there are two accounts named "a" (see line 5)'],
        ),
        (
            f"{SMALLEST}[[discover]]\ninclude = []\nattachments = []\n",
            [
                "5: include is empty, so that nothing can match",
                "6: attachments is empty, so that nothing can match",
            ],
        ),
        (
            f'{SMALLEST}[[discover]]\nsslrootcert = "system"\n',
            ['5: sslrootcert = "system" goes with sslmode = "verify-full" alone'],
        ),
        (
            f'{SMALLEST}[[discover]]\nsslrootcert = "none"\nsslmode = "verify-ca"\n',
            ['5: sslrootcert = "none" leaves sslmode = "verify-ca" nothing to verify by'],
        ),
        (
            f'{SMALLEST}[[discover]]\nattachments = ["database"]\nexclude = "x"\n',
            [
                (
                    '5: attachments must be a pattern of attachment names such as "DATABASE" or '
                    '"*_REPLICA" (upper-case letters, digits, underscores, * and ?), not "database"'
                ),
                '6: exclude must be an array such as ["*-review", "*-pr-*"], not "x"',
            ],
        ),
    ],
)
def test_what_has_to_be_there(tmp_path: Path, text: str, found: list[str]) -> None:
    """A configuration that could do nothing, or says two things at once, is refused."""
    assert problems(tmp_path, text) == found


TWO_ACCOUNTS = """\
[[accounts]]
name = "work"
token = "env:A"
[[accounts]]
name = "home"
token = "env:B"
[clients.pgpass]
"""


def test_with_several_accounts_each_database_names_one(tmp_path: Path) -> None:
    """Which account is meant is never guessed; a misspelt one is suggested."""
    text = f'{TWO_ACCOUNTS}[[databases]]\napp = "a"\n[[discover]]\naccount = "wrok"\n'
    assert problems(tmp_path, text) == [
        '8: account is missing: there are several, "work" or "home"',
        '11: there is no account "wrok"; it can be "work" or "home"; did you mean "work"?',
    ]


def test_one_service_for_two_databases(tmp_path: Path) -> None:
    """Two databases never share a section, given or by default; both lines are named."""
    text = f"""\
{CLIENTS}[[databases]]
app = "shop-reports"
[[databases]]
app = "shop"
attachment = "REPORTS"
[[databases]]
app = "other"
service = "shop-reports"
"""
    taken = (
        'the service name "shop-reports" is taken: '
        "give one of the two another `service` (see line 2)"
    )
    assert problems(tmp_path, text) == [f"4: {taken}", f"9: {taken}"]


def test_a_database_stands_in_the_file_once(tmp_path: Path) -> None:
    """Each copy of a database points to the first one, whatever else it says."""
    text = f"{CLIENTS}{DATABASES}{DATABASES}service = 'a'\n{DATABASES}attachment = 'DATABASE_URL'\n"
    assert problems(tmp_path, text) == [
        "4: shop/DATABASE is here twice (see line 2)",
        "7: shop/DATABASE is here twice (see line 2)",
    ]


def test_the_same_app_seen_by_two_accounts(tmp_path: Path) -> None:
    """Two accounts that name the same app are two databases, which need two services."""
    text = TWO_ACCOUNTS + '[[databases]]\napp = "a"\naccount = "work"\n'
    text += '[[databases]]\napp = "a"\naccount = "home"\n'
    assert problems(tmp_path, text) == [
        '11: the service name "a" is taken: give one of the two another `service` (see line 8)'
    ]
    assert problems(tmp_path, f'{text}service = "b"\n') == []


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


def test_pgadmin_needs_what_its_rows_point_to(tmp_path: Path) -> None:
    """Service rows need a service file, host rows a user; a storage folder is for host rows."""
    rows = '3: rows = "service" points into a service file: add [clients.service_file], '
    rows += 'or write rows = "host"'
    pgadmin = f"{DATABASES}[clients.pgadmin]\n"
    assert problems(tmp_path, pgadmin) == [rows]
    assert problems(tmp_path, f'{pgadmin}user = "me@example.com"\n') == []
    assert problems(tmp_path, f'{pgadmin}rows = "host"\n') == [
        '3: rows = "host" needs `user`, whose storage folder has the passfile'
    ]
    assert problems(tmp_path, f'{pgadmin}storage = "s"\n[clients.service_file]\n') == [
        '4: storage has a meaning only with rows = "host": a service holds its password'
    ]


def test_servers_json_needs_what_its_rows_point_to(tmp_path: Path) -> None:
    """Service rows need a service file, and a passfile belongs to host rows."""
    servers = f'{DATABASES}[clients.servers_json]\npath = "s"\npassfile = "p"\n'
    passfile = '5: passfile has a meaning only with rows = "host": a service holds its password'
    rows = '3: rows = "service" points into a service file: add [clients.service_file], '
    rows += 'or write rows = "host"'
    assert problems(tmp_path, servers) == [rows, passfile]
    assert problems(tmp_path, f"{servers}[clients.service_file]\n") == [passfile]
    assert problems(tmp_path, f'{servers}rows = "host"\n') == []
    broken = f"{servers}[clients.service_file]\npath = 5\n"
    assert problems(tmp_path, broken) == [passfile, "7: path must be a text in quotes, not 5"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("database = 1", '1: unknown key "database"; did you mean "databases"?'),
        ('token = "auto"', '1: unknown key "token"; it belongs in [heroku] or [[accounts]]'),
        (
            '[[databases]]\napp = "b"\nurls = []',
            '3: unknown key "urls" in [[databases]]; it belongs in [notifications]',
        ),
        ("[clients.pgpas]", '1: unknown key "pgpas" in [clients]; did you mean "pgpass"?'),
        (
            '[[clients.pgpass]]\npath = "/a"\nbytes = 1',
            '3: unknown key "bytes" in [clients.pgpass]; known are path',
        ),
        ("heroku = 5", "1: heroku must be a table, not 5"),
        ("[[heroku]]", "1: heroku comes once: write [heroku], with single brackets"),
        (
            "[discover]",
            "1: discover may come several times: write [[discover]], with double brackets",
        ),
        ('discover = ["a"]', '1: discover must be a table, not "a"'),
        ("clients.pgpass = 5", "1: pgpass must be a table, not 5"),
        (
            "log_level = 2026-01-05",
            '1: log_level must be "debug", "info", "warning" or "error", not 2026-01-05',
        ),
    ],
)
def test_wrong_shapes(tmp_path: Path, text: str, found: str) -> None:
    """A misspelt or misplaced key, and the wrong brackets, are each said for what they are."""
    rest = DATABASES if "clients" in text else SMALLEST
    assert problems(tmp_path, f"{text}\n{rest}") == [found]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a = 1\n[heroku\n", "2: Expected ']' at the end of a table declaration"),
        ("a = 1\na = 2\n", "2: Cannot overwrite a value"),
        (
            'a = 1\nb = "C:\\Users\\eve"\n',
            "2: Invalid hex value; write a Windows path in single quotes: 'C:\\…'",
        ),
        (f"\na = {'[' * 5000}", "1: brackets are nested too deeply"),
    ],
)
def test_broken_toml(tmp_path: Path, text: str, found: str) -> None:
    """A file that is not TOML is refused with the line where it goes wrong."""
    assert problems(tmp_path, text) == [found]


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
