"""The words of the program, and the one type of a secret."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgherald import errors
from pgherald.model import SSLMODES, DatabaseKey, Login, strictest
from pgherald.secret import MASK, Secret

NAME = st.text(st.characters(blacklist_characters=":/", blacklist_categories=["Cs"]), min_size=1)
CANARY = "CANARY-model"


def login(**changes: object) -> Login:
    """A login, with some of its fields changed."""
    plain = Login("db.example.com", 5432, "shop", "u1", Secret(CANARY))
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]  # names are the test's


@given(NAME, NAME, NAME)
def test_a_key_reads_back_what_it_wrote(account: str, app: str, attachment: str) -> None:
    """A database's key survives being written into a file and read back."""
    key = DatabaseKey(account, app, attachment)
    assert DatabaseKey.parse(str(key)) == key


@pytest.mark.parametrize("text", ["", "shop", "/DATABASE", "shop/", ":shop/DATABASE", "a/b/c"])
def test_what_is_no_key_is_refused(text: str) -> None:
    """Text that is no key is never taken for one: a mark in a file must be beyond doubt."""
    with pytest.raises(ValueError, match="not a database key"):
        DatabaseKey.parse(text)


def test_the_stricter_sslmode_wins() -> None:
    """Whoever asks for more gets it, in capitals too; what libpq does not know asks for nothing."""
    for number, ours in enumerate(SSLMODES):
        for other, theirs in enumerate(SSLMODES):
            assert strictest(ours, theirs) == SSLMODES[max(number, other)]
        for nothing in (None, "", "verify"):
            assert strictest(ours, nothing) == ours
    assert strictest("prefer", "REQUIRE") == "require"


def test_every_field_of_a_login_counts() -> None:
    """Logins are compared whole: any field may change in a rotation."""
    other = {"host": "x", "port": 1, "dbname": "x", "user": "x", "password": Secret("x")}
    assert {*other, "sslmode"} == {field.name for field in dataclasses.fields(Login)}
    for field, value in {**other, "sslmode": "verify-full"}.items():
        assert login().changed(login(**{field: value})) == (field,)
        assert login() != login(**{field: value})


def test_a_secret_never_shows_itself() -> None:
    """However a secret is printed, formatted or serialised by accident, its value stays in."""
    secret = Secret(CANARY)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret:>20}", f"{secret!r}", "%s" % secret]  # noqa: UP031 – one of the ways
    shown += [repr(login()), repr([secret]), repr({"p": secret})]
    assert not [text for text in shown if CANARY in text]
    assert MASK in repr(login())


@pytest.mark.parametrize(
    "serialise",
    [
        pickle.dumps,
        copy.deepcopy,
        lambda secret: json.dumps({"password": secret}),
        lambda secret: dataclasses.asdict(login(password=secret)),
    ],
)
def test_a_secret_is_not_serialised(serialise: object) -> None:
    """A secret cannot be pickled, deep-copied or written as JSON; trying does not show it."""
    assert callable(serialise)
    with pytest.raises(TypeError) as caught:
        serialise(Secret(CANARY))
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_a_secret_is_equal_to_its_like_alone() -> None:
    """Two secrets are equal when their values are; a secret never equals a plain string."""
    assert Secret("a") == Secret("a")
    assert hash(Secret("a")) == hash(Secret("a"))
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert Secret("\udc80") == Secret("\udc80")
    assert Secret("a")
    assert not Secret("")


def test_a_secret_has_one_type() -> None:
    """No kind of secret may bring back the ways out that `Secret` closes."""
    with pytest.raises(TypeError):
        type("Leaky", (Secret,), {})
    with pytest.raises(TypeError, match="not from bytes"):
        Secret(b"CANARY")  # type: ignore[arg-type]  # the mistake that is tested


def test_an_error_reads_as_title_and_advice() -> None:
    """A person sees what happened, and below it what to do."""
    error = errors.LoginRequired("Heroku refused the login")
    assert str(error).splitlines()[0] == "Heroku refused the login"
    assert "heroku authorizations:create -s read-protected" in error.advice
    assert error.kind == "LoginRequired"
    assert str(errors.Unavailable("Heroku cannot be reached")) == "Heroku cannot be reached"
