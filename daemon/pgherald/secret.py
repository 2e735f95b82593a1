"""The one type that a secret has.

Passwords and tokens travel through the program as `Secret` and as nothing else.
Whatever prints, formats, pickles or serialises one by accident gets a row of dots
or an error, never the value; the value comes out through `reveal()` alone, so
`grep -rn 'reveal()'` lists every place where a secret is really used.
"""

from __future__ import annotations

from typing import NoReturn

#: What is shown where a secret is.
MASK = "••••••"


class Secret:
    """A string that does not show itself.

    Equality takes constant time. There is no way to subclass, pickle or copy the
    value out other than `reveal`.

    Raises:
        TypeError: when made from anything but a `str`, or when pickled.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        if not isinstance(value, str):
            # The value itself stays out of the message.
            raise TypeError(f"a secret is made from a str, not from {type(value).__name__}")
        self._value = value

    def __init_subclass__(cls) -> NoReturn:
        raise TypeError("Secret is the one type of a secret; it has no kinds")

    def reveal(self) -> str:
        """Return the value itself. Each call is a place an auditor reads."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        import hmac  # brings OpenSSL along, which quick commands do without

        return hmac.compare_digest(
            self._value.encode("utf-8", "surrogatepass"),
            other._value.encode("utf-8", "surrogatepass"),
        )

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is never pickled")
