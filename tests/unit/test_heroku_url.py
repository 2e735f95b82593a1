"""Postgres URLs, as config vars hold them."""

from __future__ import annotations

import re
import traceback
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgherald.errors import BadUrl
from pgherald.heroku.url import parse_postgres_url
from pgherald.model import Login
from pgherald.secret import Secret


def parse(text: str) -> tuple[str, int, str, str, str]:
    login = parse_postgres_url(Secret(text))
    return login.host, login.port, login.dbname, login.user, login.password.reveal()


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("postgres://u:p@h:6543/d", ("h", 6543, "d", "u", "p")),
        ("postgresql://u:p@h/d", ("h", 5432, "d", "u", "p")),
        ("POSTGRES://u:p@H.example/d", ("H.example", 5432, "d", "u", "p")),
        ("\ufeff 'postgres://u:p@h/d'\r\n", ("h", 5432, "d", "u", "p")),
        ("postgis://u:p@h/d", ("h", 5432, "d", "u", "p")),
        ("postgresql+psycopg2://u:p@h/d\t", ("h", 5432, "d", "u", "p")),
        ("pgsql+ssl-only://u:p@h./d", ("h.", 5432, "d", "u", "p")),
        ("psql://u:p@h/d", ("h", 5432, "d", "u", "p")),
        ("postgres://u:p@h:/d", ("h", 5432, "d", "u", "p")),
        ("postgres://u:p@[2001:db8::1]:1/d", ("2001:db8::1", 1, "d", "u", "p")),
        ("postgres://u:p@[fe80::1%25eth0]/d", ("fe80::1%eth0", 5432, "d", "u", "p")),
        ("postgres://u:p@h/d?sslmode=disable&x=a@b/c#f", ("h", 5432, "d", "u", "p")),
        ("postgres://u:p@h/d#f", ("h", 5432, "d", "u", "p")),
        ("postgres://%C3%BC:%40%2F%3F%23%3A%25@h/d%2Fe", ("h", 5432, "d/e", "ü", "@/?#:%")),
        ("postgres://u:a+b%20c@h%2Dx/d", ("h-x", 5432, "d", "u", "a+b c")),
        ("postgres://u:ü@h/ä", ("h", 5432, "ä", "u", "ü")),
    ],
)
def test_parts(url: str, parts: tuple[str, int, str, str, str]) -> None:
    """Every part is taken out and decoded; the query, and what pasting adds, is ignored."""
    assert parse(url) == parts


@pytest.mark.parametrize(
    "password", ["a@b", "a/b", "a?b", "a#b", "a:b", "@x/y@z", "a@b:c/d", "#?/@"]
)
def test_passwords_that_nobody_encoded(password: str) -> None:
    """A password with raw delimiters is understood where only one reading has a whole place."""
    assert parse(f"postgres://u:{password}@h:1/d") == ("h", 1, "d", "u", password)


@given(
    user=st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1),
    password=st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1),
    dbname=st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1),
    port=st.integers(1, 65535),
)
@example(user="%", password="+", dbname="?", port=1)
def test_what_is_encoded_comes_back(user: str, password: str, dbname: str, port: int) -> None:
    """Any text that is properly encoded comes back as it was."""
    url = f"postgres://{quote(user, safe='')}:{quote(password, safe='')}@h:{port}/{quote(dbname, safe='')}"
    assert parse(url) == ("h", port, dbname, user, password)


@given(st.text())
@example("postgres://u:\ud800@h/d")
@example("postgres://[@]/[")
def test_any_text_gives_a_login_or_bad_url(rest: str) -> None:
    """Whatever stands in a config var, the outcome is BadUrl or a login that fits on one line, at one host."""
    texts = rest, f"postgres://{rest}", f"postgres://u:{rest}@h/d", f"postgres://u:p@[::1%{rest}]/d"
    for text in texts:
        try:
            login = parse_postgres_url(Secret(text))
        except BadUrl:
            continue
        fields = login.host, login.user, login.password.reveal(), login.dbname
        assert all(fields)
        assert not re.search("[\0\r\n\ud800-\udfff]", "".join(fields))
        assert not set(login.host) & set(", *")
        assert 0 < login.port < 2**16


BAD = {
    "It is empty.": ["", " "],
    "does not begin": ["CANARY", "mysql://u:CANARY@h/d"],
    "not the form": ["postgres://CANARY", "postgres://u:CANARY@h", "postgres://u:CANARY@[::1/d",
                     "postgres://u:p@h/CANARY/d"],
    "no user": ["postgres://:CANARY@h/d"],
    "no password": ["postgres://CANARY@h/d", "postgres://CANARY:@h/d"],
    "no database name": ["postgres://u:CANARY@h/"],
    "no host": ["postgres://u:CANARY@/d", "postgres://u:CANARY@:5432/d"],
    "its port": ["postgres://u:CANARY@h:0/d", "postgres://u:CANARY@h:65536/d",
                 "postgres://u:CANARY@h:٥٤٣٢/d", "postgres://u:CANARY@h:CANARY/d"],
    "several hosts": ["postgres://u:CANARY@h1,h2/d", "postgres://u:CANARY@h1:5432,h2:5433/d"],
    "no host name": ["postgres://u:CANARY@h h/d", "postgres://u:CANARY@-h/d",
                     "postgres://u:CANARY@höst/d", "postgres://u:CANARY@%2Ftmp/d"],
    "no IPv6": ["postgres://u:CANARY@[h]/d", "postgres://u:CANARY@[127.0.0.1]/d",
                "postgres://u:CANARY@[fe80::1%25a%2Cb]/d"],
    "hexadecimal": ["postgres://u:CANARY%zz@h/d", "postgres://u:CANARY%@h/d"],
    "not UTF-8": ["postgres://u:CANARY%ff@h/d"],
    "control character": ["postgres://u:CANARY%0A@h/d", "postgres://u:CANARY\n@h/d",
                          "postgres://u:CANARY\x85@h/d", "postgres://u:CANARY\ud800@h/d"],
    "too long": [f"postgres://u:CANARY{'y' * 5000}@h/d"],
}  # fmt: skip


@pytest.mark.parametrize("why", BAD)
def test_bad_urls_are_refused_without_quoting_them(why: str) -> None:
    """Each refusal fits, and names the command that mends it; no part of the URL is in the error."""
    for url in BAD[why]:
        with pytest.raises(BadUrl) as caught:
            parse_postgres_url(Secret(url), var="DATABASE_URL", app="shop")
        error = caught.value
        assert error.title == "DATABASE_URL of shop is not a Postgres URL"
        assert why.lower() in error.advice.lower()
        assert error.advice.endswith("heroku config:edit DATABASE_URL --app shop")
        shown = "".join([str(error), repr(error), *traceback.format_exception(error)])
        assert "CANARY" not in shown
        assert (error.__cause__, error.__context__) == (None, None)
        frames = list(traceback.walk_tb(error.__traceback__))[1:]
        assert "CANARY" not in repr([frame.f_locals for frame, _ in frames])


@pytest.mark.parametrize("value", [None, "*****", "••••••••"])
def test_a_masked_var(value: str | None) -> None:
    """A value that Heroku hides is called so, and is no reason to look for the database."""
    text = None if value is None else Secret(value)
    with pytest.raises(BadUrl, match="DATABASE_URL of shop is masked") as caught:
        parse_postgres_url(text, var="DATABASE_URL", app="shop")
    assert "dashboard.heroku.com/apps/shop/settings" in caught.value.advice


def test_the_sslmode_is_the_databases_own() -> None:
    """What the URL says about TLS does not count."""
    url = Secret("postgres://u:p@h/d?sslmode=disable")
    wanted = Login("h", 5432, "d", "u", Secret("p"), "verify-full")
    assert parse_postgres_url(url, "verify-full") == wanted
