"""Logins as keyed hashes: enough to know one again, and nothing to learn one from."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Final

from pgherald.model import LOGIN_FIELDS, DatabaseKey, Login
from pgherald.secret import Secret

#: Beside the fields' hashes: one over all of them and the database's key.
_SEAL: Final = "seal"


class Fingerprints:
    """Makes and reads fingerprints: JSON of a hash for each field of a login, and a seal.

    Without the seal a single damaged letter would look like a rotation.

    Args:
        key: what is hashed with; it never leaves the state file.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, key: DatabaseKey, login: Login, *, sealed: bool = True) -> str:
        """A login's fingerprint; without the seal, as pgherald 0.1 made it."""
        fields = self._fields(login)
        seal = {_SEAL: self._seal(key, fields)} if sealed else {}
        return json.dumps(fields | seal)

    def mark(self, key: DatabaseKey, login: Login) -> str:
        """One hash for a whole login of one database."""
        return self._seal(key, self._fields(login))

    def differs(self, found: object, key: DatabaseKey, login: Login) -> tuple[str, ...] | None:
        """In which fields a login differs from a fingerprint; None where that is damaged."""
        try:
            fields = json.loads(found)  # type: ignore[arg-type]  # a damaged one is no text
            seal = fields.pop(_SEAL, None)
            if seal is not None and seal != self._seal(key, fields):
                return None
            new = self._fields(login)
            return tuple(field for field in LOGIN_FIELDS if fields[field] != new[field])
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None

    def _fields(self, login: Login) -> dict[str, str]:
        return {field: self._hash(field, _plain(getattr(login, field))) for field in LOGIN_FIELDS}

    def _seal(self, key: DatabaseKey, fields: dict[str, str]) -> str:
        return self._hash(_SEAL, str(key), *(fields[field] for field in LOGIN_FIELDS))

    def _hash(self, *parts: str) -> str:
        return hmac.new(self._key, "\0".join(parts).encode(), hashlib.sha256).hexdigest()


def _plain(value: object) -> str:
    return value.reveal() if isinstance(value, Secret) else str(value)
