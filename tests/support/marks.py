"""The mark that makes a secret of a test recognisable."""

from typing import Final

#: What every password, token and config var of a test holds.
MARK: Final = "CANARY"
