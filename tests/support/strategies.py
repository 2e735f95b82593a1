"""What hypothesis makes up: keys, logins, entries, and files as other people leave them.

    @given(file=strategies.pgpass_files(), entries=strategies.entry_lists())

Every generated password contains `CANARY`, so that a leak can be found by searching.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from pgherald.model import DEFAULT_ACCOUNT, Database, DatabaseKey, Entry, Login
from pgherald.secret import Secret

BOM = b"\xef\xbb\xbf"

#: Characters with a meaning in some format, in a shell, or to a careless parser.
NASTY = ":\\*#=[]'\"`$%&;,|<>(){}@/?!~^ \té漢🐘\x7f\u2028\x85"

_WORDS = st.text("abcxyz019-", min_size=1, max_size=8).filter(lambda word: word[0] != "-")


def keys() -> st.SearchStrategy[DatabaseKey]:
    """Databases of a few accounts; few enough that two draws often meet."""
    return st.builds(
        DatabaseKey,
        account=st.sampled_from([DEFAULT_ACCOUNT, DEFAULT_ACCOUNT, "work"]),
        app=st.sampled_from(["shop", "shop-staging", "blog"]),
        attachment=st.sampled_from(["DATABASE", "HEROKU_POSTGRESQL_RED"]),
    )


def nasty_words() -> st.SearchStrategy[str]:
    """Text that some format has to escape, but each can hold: no line break, no white end."""
    return st.text(st.sampled_from(NASTY + "abc019"), min_size=1, max_size=12).filter(
        lambda word: word == word.strip() and word != "*"
    )


def passwords() -> st.SearchStrategy[Secret]:
    """Passwords that every format can hold, and that can be found by `CANARY`."""
    ends = st.one_of(st.just(""), nasty_words())
    return st.builds(lambda a, b: Secret(f"{a}CANARY{b}"), ends, ends)


def hosts() -> st.SearchStrategy[str]:
    """Names, addresses of both kinds, and names that no one should have."""
    return st.one_of(
        st.builds(lambda a, b: f"{a}.{b}.example.com", _WORDS, _WORDS),
        st.sampled_from(["localhost", "127.0.0.1", "::1", "2001:db8::5", "fe80::1%eth0"]),
        nasty_words().filter(lambda host: "," not in host and host[0] not in "/@"),
    )


MODES = ("require", "verify-full", "disable")


def logins(sslmodes: Sequence[str] = MODES) -> st.SearchStrategy[Login]:
    """Logins that every format can hold."""
    return st.builds(
        Login,
        host=hosts(),
        port=st.integers(1, 65535),
        dbname=nasty_words(),
        user=nasty_words(),
        password=passwords(),
        sslmode=st.sampled_from(sslmodes),
    )


def entry(key: DatabaseKey, login: Login, service: str | None = None) -> Entry:
    """An entry with the settings that follow from its key."""
    service = service or str(key).replace("/", "-").replace(":", "-")
    return Entry(Database(key, str(key), "Heroku", service, sslmode=login.sslmode), login)


def entry_lists(
    max_size: int = 4, sslmodes: Sequence[str] = MODES
) -> st.SearchStrategy[list[Entry]]:
    """Entries of different databases, services and (host, port, user)."""
    pairs = st.lists(
        st.tuples(keys(), logins(sslmodes)),
        max_size=max_size,
        unique_by=(lambda pair: pair[0], lambda pair: (pair[1].host, pair[1].port, pair[1].user)),
    )
    return pairs.map(lambda made: [entry(key, login) for key, login in made])


def _files(rows: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Lines put together as some editor did: line ends, BOM, with or without a last end."""

    def put(bom: bytes, eol: bytes, made: list[bytes], last: bytes) -> bytes:
        return bom + eol.join(made) + (last and eol)

    return st.builds(
        put,
        st.sampled_from([b"", b"", b"", BOM]),
        st.sampled_from([b"\n", b"\n", b"\r\n"]),
        st.lists(rows, max_size=8),
        st.sampled_from([b"\n", b""]),
    )


def _raw(text: str, max_size: int = 30) -> st.SearchStrategy[bytes]:
    return st.text(text, max_size=max_size).map(str.encode)


def _odd_rows() -> st.SearchStrategy[bytes]:
    """Any bytes that can be a line of text, even a first one."""
    return st.binary(max_size=12).filter(
        lambda row: not {0, 10} & set(row) and row[:2] not in (b"\xff\xfe", b"\xfe\xff")
    )


def pgpass_rows() -> st.SearchStrategy[bytes]:
    """Lines of a pgpass file: good, nearly good, and nothing of the kind."""
    value = st.one_of(
        st.just(b"*"), _raw("ab*\\:", 4), st.sampled_from([b"localhost", b"5432", b"\xff"])
    )
    return st.one_of(
        st.lists(value, min_size=4, max_size=6).map(b":".join),
        st.sampled_from(
            [b"", b"# mine", b" # mine", b"\t", b"db.example.com:5432:*:me:CANARY\\:x"]
        ),
        _raw("ab:\\*# \r\t"),
        _odd_rows(),
    )


def service_rows() -> st.SearchStrategy[bytes]:
    """Lines of a service file: good, nearly good, and nothing of the kind."""
    pair = st.builds(
        lambda space, key, sign, value: space + key + sign + value,
        st.sampled_from([b"", b"", b" ", b"\t"]),
        st.sampled_from(
            [b"host", b"port", b"user", b"password", b"application_name", b"hostaddr", b"Password"]
        ),
        st.sampled_from([b"=", b"=", b"=", b" = "]),
        st.one_of(_raw("ab=[]# ", 6), st.sampled_from([b"5432", b"127.0.0.1"])),
    )
    return st.one_of(
        pair,
        pair,
        st.sampled_from([b"[shop-DATABASE]", b"[mine]", b"[a]b]", b"[", b"  [mine] ", b"[mine"]),
        st.sampled_from([b"", b"# mine", b"  # mine", b"service=x", b"ldap://x", b"nonsense"]),
        st.sampled_from([b"#" + b"x" * size for size in (1019, 1020, 1021, 1022, 3000)]),
        _odd_rows(),
    )


def pgpass_files() -> st.SearchStrategy[bytes]:
    """A pgpass file that somebody wrote by hand."""
    return _files(pgpass_rows())


def service_files() -> st.SearchStrategy[bytes]:
    """A service file that somebody wrote by hand."""
    return _files(service_rows())


@st.composite
def mangled(draw: st.DrawFn, text: bytes, rows: st.SearchStrategy[bytes], times: int = 3) -> bytes:
    """The file after somebody dropped, doubled, moved, typed or changed a few lines."""
    lines = text.split(b"\n")
    for _ in range(draw(st.integers(1, times))):
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["drop", "double", "move", "type", "change"])):
            case "drop":
                lines[at : at + 1] = [] if len(lines) > 1 else [b""]
            case "double":
                lines.insert(at, lines[at])
            case "move":
                line = lines.pop(at)
                lines.insert(draw(st.integers(0, len(lines))), line)
            case "type":
                lines.insert(at, draw(rows))
            case _:
                cut = draw(st.integers(0, len(lines[at])))
                lines[at] = lines[at][:cut] + draw(st.sampled_from([b"x", b" ", b""]))
    return b"\n".join(lines)
