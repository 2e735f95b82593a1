"""How much the person wants to hear, and when; and what is kept until then. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from pgherald.config.settings import Level
from pgherald.model import News, NewsKind
from pgherald.notify.texts import needs_hand

_MOMENTS = ("at", "since")


def wanted(news: Sequence[News], level: Level) -> list[News]:
    """What a person of that level is told."""
    return [n for n in news if _wanted(n, level)]


def _wanted(news: News, level: Level) -> bool:
    if level is Level.ALL or news.kind in (NewsKind.TROUBLE, NewsKind.RECOVERED) or news.behind:
        return True
    if level is Level.ROTATIONS:
        return news.kind is not NewsKind.ADDED
    return needs_hand(news)


def to_text(news: Sequence[News]) -> str:
    """News as text that can be kept across a restart; it holds no secret, as news never does."""
    return json.dumps([_plain(asdict(n)) for n in news]) if news else ""


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v.isoformat() if isinstance(v, datetime) else v for k, v in fields.items()}


def from_text(text: str) -> list[News]:
    """The way back from `to_text`; nothing from what is not understood."""
    try:
        return [_news(fields) for fields in json.loads(text or "[]")]
    except (ValueError, TypeError, KeyError):
        return []


def _news(fields: dict[str, Any]) -> News:
    moments = {k: datetime.fromisoformat(fields[k]) for k in _MOMENTS if fields[k] is not None}
    lists = {k: tuple(fields[k]) for k in ("changed", "clients")}
    behind = tuple((label, why) for label, why in fields["behind"])
    return News(**fields | moments | lists | {"behind": behind, "kind": NewsKind(fields["kind"])})
