"""How commands say times, and whom something concerns."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pgherald.model import ACCOUNT_KINDS, DEFAULT_ACCOUNT

_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR


def ago(at: datetime | None, now: datetime | None = None) -> str:
    """A moment as a person says it: `never`, `just now`, `5 min ago`, `3 days ago`."""
    if at is None:
        return "never"
    seconds = ((now or datetime.now(UTC)) - at).total_seconds()
    if seconds < 2:  # "1 s ago" is now
        return "just now"
    return f"{lasting(timedelta(seconds=seconds))} ago"


def lasting(time: timedelta) -> str:
    """A span as a person says it: `45 s`, `5 min`, `2 h 5 min`, `3 days`."""
    seconds = int(time.total_seconds())
    if seconds < _MINUTE:
        return f"{seconds} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE} min"
    if seconds < _DAY:
        minutes = seconds % _HOUR // _MINUTE
        return f"{seconds // _HOUR} h" + (f" {minutes} min" if minutes else "")
    days = seconds // _DAY
    return "1 day" if days == 1 else f"{days} days"


def headline(subject: str, label: str, title: str) -> str:
    """A title that tells whom it concerns, and tells it once.

    Args:
        subject: as in `pgherald.model.News`.
        label: what a person calls it.
        title: what is wrong.
    """
    kind, _, name = subject.partition(":")
    if kind in ACCOUNT_KINDS:
        return title if name == DEFAULT_ACCOUNT else f"Heroku account {name}: {title}"
    told = label in title or name in title  # an empty label is in every title
    return title if told or not name else f"{label}: {title}"
