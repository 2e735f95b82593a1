"""The words of the program, and the one type of a secret."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import traceback
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgherald import errors
from pgherald.model import LOGIN_FIELDS, SSLMODES, DatabaseKey, Login, Rotation, strictest
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


def test_the_default_account_is_not_shown() -> None:
    """Whoever has one account never reads its name."""
    assert str(DatabaseKey("default", "shop", "DATABASE")) == "shop/DATABASE"
    assert str(DatabaseKey("work", "shop", "DATABASE")) == "work:shop/DATABASE"


@pytest.mark.parametrize("ours", SSLMODES)
@pytest.mark.parametrize("theirs", [*SSLMODES, None, "", "REQUIRE", "verify"])
def test_the_stricter_sslmode_wins(ours: str, theirs: str | None) -> None:
    """Whoever asks for more gets it, in capitals too; what libpq does not know asks for nothing."""
    order, said = list(SSLMODES), str(theirs).lower()
    known = said in order and order.index(said) > order.index(ours)
    assert strictest(ours, theirs) == (said if known else ours)


def test_the_config_var_is_named_after_the_attachment() -> None:
    """Heroku names an attachment's config var after it, with `_URL` behind."""
    assert DatabaseKey("default", "shop", "RED").var == "RED_URL"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("host", "other"),
        ("port", 1),
        ("dbname", "other"),
        ("user", "other"),
        ("password", Secret("other")),
        ("sslmode", "verify-full"),
    ],
)
def test_every_field_of_a_login_counts(field: str, value: object) -> None:
    """Logins are compared whole: any field may change in a rotation."""
    assert login().changed(login(**{field: value})) == (field,)
    assert login() != login(**{field: value})


def test_without_another_login_all_is_new() -> None:
    """Against nothing every field counts as changed; against itself none does."""
    assert login().changed(None) == LOGIN_FIELDS
    assert login().changed(login()) == ()


def test_a_rotation_is_written_once() -> None:
    """Recording that a rotation is written changes nothing else about it."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    rotation = Rotation(DatabaseKey("default", "shop", "DATABASE"), ("password",), now)
    assert rotation.written(now) == dataclasses.replace(rotation, written_at=now)


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


def all_errors(root: type[errors.PgheraldError]) -> list[type[errors.PgheraldError]]:
    """An error class and everything below it, as far as it stands in errors.py."""
    kinds = [kind for kind in root.__subclasses__() if kind.__module__ == errors.__name__]
    below = [found for kind in kinds for found in all_errors(kind)]
    return [root, *below]


def test_the_drawn_tree_is_the_real_one() -> None:
    """The tree in errors.py's docstring names every error, in its place."""
    assert errors.__doc__ is not None
    drawn = [
        (line.index("─ ") // 4 if "─ " in line else 0, line.replace("─", " ").split())
        for line in errors.__doc__.splitlines()
        if line.startswith("    ") and line.strip()
    ]
    names = {next(word for word in words if word.isalpha()): depth for depth, words in drawn}
    for kind in all_errors(errors.PgheraldError):
        assert kind.__name__ in names, kind
        if kind is not errors.PgheraldError:
            parent = kind.__mro__[1].__name__
            assert names[parent] < names[kind.__name__], kind


def test_an_error_reads_as_title_and_advice() -> None:
    """A person sees what happened, and below it what to do."""
    error = errors.LoginRequired("Heroku refused the login")
    assert str(error).splitlines()[0] == "Heroku refused the login"
    assert "heroku authorizations:create -s read-protected" in error.advice
    assert error.kind == "LoginRequired"
    assert str(errors.Unavailable("Heroku cannot be reached")) == "Heroku cannot be reached"
