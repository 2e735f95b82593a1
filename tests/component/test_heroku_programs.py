"""A program of somebody else's that is asked for a token, run for real."""

from __future__ import annotations

import os
from pathlib import Path

from pgherald.config import TokenKind, TokenSpec
from pgherald.heroku.host import HerokuHost
from pgherald.heroku.tokens import token_source

ENV = {"PATH": os.environ["PATH"]}


async def test_the_real_keyring_is_asked(tmp_path: Path) -> None:
    """The command line of the keyring package is the one that is used here."""
    (tmp_path / "store.py").write_text(
        "from keyring.backend import KeyringBackend\n"
        "class Store(KeyringBackend):\n"
        "    priority = 1\n"
        "    def get_password(self, service, username):\n"
        "        return f'HRKU-{service}-{username}'\n"
        "    def set_password(self, service, username, password):\n"
        "        raise NotImplementedError\n"
    )
    env = {
        **ENV,
        "HOME": str(tmp_path),
        "PYTHONPATH": str(tmp_path),
        "PYTHON_KEYRING_BACKEND": "store.Store",
    }
    source = token_source(
        TokenSpec(TokenKind.KEYRING, "a/b"), HerokuHost.from_env({}), env, tmp_path
    )
    assert (await source.get()).reveal() == "HRKU-a-b"
