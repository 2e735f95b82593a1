"""What the person reads: news in, notices out. Pure.

What is told, and how loudly:

    rotating    only if proving the new login takes a while; the notice of what came of it
                takes its place
    rotated     always; three or more at once become one summary
    added       one quiet line: it is what the person has just asked for
    mended      not at all: the client is right again and there is nothing to do, and
                an editor or a restore from backup would cause it day after day. The
                log and `pgherald history` have it
    trouble     always; troubles with the same headline become one
    recovered   always; likewise

Whatever leaves something for the person to do is critical, so that it stays on the screen.
A text holds labels, clients and advice, and never a secret, host, user or file content.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final

from pgherald.model import ACCOUNT_KINDS, DEFAULT_ACCOUNT, News, NewsKind
from pgherald.notify.desktop import Action, Notice, Urgency

#: From this many on, news of one kind becomes a summary.
MANY: Final = 3

#: Names that a list spells out before it counts the rest.
NAMED: Final = 2

#: Characters of a label in a title; titles are cut off by desktops at about 60.
LABEL: Final = 40

#: Titles of news that is about writing: (one database, several). `{}` is name or number.
WRITTEN: Final = {
    NewsKind.ROTATED: ("Heroku rotated {}", "Heroku rotated {} databases"),
    NewsKind.ADDED: ("pgherald now keeps {}", "pgherald now keeps {} databases"),
    NewsKind.MENDED: ("pgherald mended {}", "pgherald mended {} databases"),
}


def notice_for(news: Sequence[News]) -> list[Notice]:
    """Turn what happened at about the same moment into as few notices as possible.

    The most urgent come last, since desktops put the latest on top.
    """
    news = _without_blinks(_without_beginnings(news))
    notices = _rotating([n for n in news if n.kind is NewsKind.ROTATING])
    for kind in (NewsKind.MENDED, NewsKind.ADDED, NewsKind.ROTATED):
        told = [n for n in news if n.kind is kind and (kind is not NewsKind.MENDED or n.behind)]
        if len(told) >= MANY:
            notices.append(_summary(told))
        else:
            notices.extend(_written(n) for n in told)
    notices.extend(_recovered([n for n in news if n.kind is NewsKind.RECOVERED]))
    notices.extend(_troubles([n for n in news if n.kind is NewsKind.TROUBLE]))
    return sorted(notices, key=lambda notice: notice.urgency is Urgency.CRITICAL)


def summary_of(news: Sequence[News]) -> list[Notice]:
    """What happened during quiet hours, as one notice; none if nothing is still worth telling."""
    notices = notice_for([n for n in news if n.kind is not NewsKind.ROTATING])
    if len(notices) <= 1:
        return notices
    notices.reverse()  # in a text, what is most urgent comes first
    lines = [_sentence(notice.title) for notice in notices[:MANY]]
    if (rest := len(notices) - MANY) > 0:
        lines.append(f"And {rest} more.")
    urgency = notices[0].urgency
    if urgency is Urgency.CRITICAL:
        lines.append("`pgherald status` tells what to do.")
    title = f"In your quiet hours: {joined(_counts(_without_blinks(news)))}"
    buttons = (Action.STATUS,) if urgency is Urgency.CRITICAL else (Action.HISTORY,)
    return [Notice(title, "\n".join(lines), urgency, "quiet", buttons)]


def _counts(news: Sequence[News]) -> list[str]:
    """`2 rotations`, `1 trouble`: what matters most first."""
    words = {
        NewsKind.TROUBLE: ("trouble", "troubles"),
        NewsKind.ROTATED: ("rotation", "rotations"),
        NewsKind.RECOVERED: ("recovery", "recoveries"),
        NewsKind.ADDED: ("new database", "new databases"),
        NewsKind.MENDED: ("repair", "repairs"),
    }
    told = [n for n in news if n.kind is not NewsKind.MENDED or n.behind]
    counted = [(sum(n.kind is kind for n in told), *names) for kind, names in words.items()]
    return [f"{count} {one if count == 1 else many}" for count, one, many in counted if count]


def line_for(news: News) -> str:
    """One piece of news as one line of the log."""
    if news.kind is NewsKind.TROUBLE:
        notice = _trouble([news])
    elif news.kind is NewsKind.RECOVERED:
        (notice,) = _recovered([news])
    elif news.kind is NewsKind.ROTATING:
        (notice,) = _rotating([news])
    else:
        notice = _written(news)
    return ": ".join(part for part in (notice.title, notice.body.replace("\n", " ")) if part)


def is_warning(news: News) -> bool:
    """Whether the log should warn: something does not work."""
    return news.kind is NewsKind.TROUBLE or bool(news.behind)


def joined(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`, `a, b and 2 more`."""
    if len(names) <= 1:
        return "".join(names)
    if len(names) <= NAMED + 1:
        return f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{', '.join(names[:NAMED])} and {len(names) - NAMED} more"


def duration(span: timedelta) -> str:
    """A time span in its two largest units: `2 h 5 min`, `45 s`, `3 d`."""
    seconds = max(0, round(span.total_seconds()))
    parts = []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        parts.append((count, unit))
    first = next((i for i, (count, _) in enumerate(parts) if count), len(parts) - 1)
    shown = [f"{count} {unit}" for count, unit in parts[first : first + 2] if count]
    return " ".join(shown) or "0 s"


def _without_beginnings(news: Sequence[News]) -> list[News]:
    """Leave out rotations that are under way and of which it is known how they ended."""
    ended = {n.subject for n in news if n.kind is not NewsKind.ROTATING}
    return [n for n in news if n.kind is not NewsKind.ROTATING or n.subject not in ended]


def _without_blinks(news: Sequence[News]) -> list[News]:
    """Leave out troubles that were over before anybody could be told.

    Of several edges of one subject only the last is worth telling; none is, if the
    first was a trouble and the last is its end.
    """
    edges: dict[str, list[News]] = {}
    for n in news:
        if n.kind in (NewsKind.TROUBLE, NewsKind.RECOVERED):
            edges.setdefault(n.subject, []).append(n)
    dropped: set[int] = set()
    for of_subject in edges.values():
        first, last = of_subject[0], of_subject[-1]
        over = first.kind is NewsKind.TROUBLE and last.kind is NewsKind.RECOVERED
        dropped.update(id(n) for n in of_subject if over or n is not last)
    return [n for n in news if id(n) not in dropped]


# Rotating, rotated, added, mended


def _rotating(news: Sequence[News]) -> list[Notice]:
    if len(news) >= MANY:
        title = f"Heroku is rotating {len(news)} databases …"
        return [_under_way(title, "The new logins are being proven.", _MANY_ROTATED)]
    body = "The new login is being proven."
    return [
        _under_way(f"Heroku is rotating {_label(n)} …", body, _written_key(NewsKind.ROTATED, n))
        for n in news
    ]


def _under_way(title: str, body: str, key: str) -> Notice:
    return Notice(title, body, Urgency.NORMAL, key, passing=True)


#: Of a summary, whatever is in it, so that it takes the place of "is rotating 40 databases".
_MANY_ROTATED: Final = "rotated:many"

#: pgAdmin opens a new query tool as the user that its tree saw last, and asks for a password.
_REFRESH: Final = "Before you open a new Query Tool in pgAdmin, refresh the server."


def _written(news: News) -> Notice:
    one, _ = WRITTEN[news.kind]
    lines = [*_current([news]), *_behind([news])]
    if news.behind and news.advice:
        lines.append(news.advice)
    if not news.proven:
        lines.append("The new login could not be tested.")
    if news.kind is NewsKind.ROTATED:
        lines += _by_hand(news)
    return Notice(
        one.format(_label(news)),
        "\n".join(lines),
        _urgency([news]),
        _written_key(news.kind, news),
        _buttons([news]),
    )


def _written_key(kind: NewsKind, news: News) -> str:
    return f"{kind}:{news.subject}"


def _buttons(news: Sequence[News]) -> tuple[Action, ...]:
    """What a person may want to do next."""
    if any(n.behind for n in news):
        return (Action.STATUS,)
    if news[0].kind is NewsKind.ROTATED:
        return (Action.PGADMIN, Action.HISTORY)
    return (Action.PGADMIN,)


def _summary(news: Sequence[News]) -> Notice:
    """Several of one kind as one notice."""
    _, many = WRITTEN[news[0].kind]
    lines = [f"{joined([_label(n) for n in news])}.", *_current(news), *_behind(news)]
    if unproven := sum(not n.proven for n in news):
        lines.append(f"{unproven} of the new logins could not be tested.")
    if reopen := [_label(n) for n in news if needs_hand(n) and n.reopen]:
        lines.append(f"In pgAdmin, reopen {joined(reopen)}.")
    if any(n.refresh and not needs_hand(n) for n in news):
        lines.append(_REFRESH)
    if renamed := [_label(n) for n in news if needs_hand(n) and not n.reopen]:
        lines.append(f"The own name of {joined(renamed)} changed too: enter it in your tools.")
    key = _MANY_ROTATED if news[0].kind is NewsKind.ROTATED else _key(news)
    title = many.format(len(news))
    return Notice(title, "\n".join(lines), _urgency(news), key, _buttons(news))


def needs_hand(news: News) -> bool:
    """Whether there is something that only the person can do: the files are right already."""
    return news.kind is NewsKind.ROTATED and (news.reopen or "dbname" in news.changed)


def _by_hand(news: News) -> list[str]:
    if "dbname" not in news.changed:
        if news.reopen:
            return ["In pgAdmin, reopen the server."]
        return [_REFRESH] if news.refresh else []
    then = "in pgAdmin, reopen the server" if news.reopen else "enter it in your tools"
    return [f"The database's own name changed too: {then}."]


def _current(news: Sequence[News]) -> list[str]:
    """Which clients are up to date, for every database of the news."""
    clients = [c for c in news[0].clients if all(c in n.clients for n in news)]
    if not clients:
        return []
    return [f"{joined(clients)} {'is' if len(clients) == 1 else 'are'} up to date."]


def _behind(news: Iterable[News]) -> list[str]:
    """Which clients are not, and why; one line per client and reason."""
    lines = {f"{c} could not be updated: {_sentence(why)}": 0 for n in news for c, why in n.behind}
    told = list(lines)
    if len(told) > MANY:
        return [*told[:NAMED], f"And {len(told) - NAMED} more; see `pgherald status`."]
    return told


def _urgency(news: Sequence[News]) -> Urgency:
    if any(n.behind or needs_hand(n) for n in news):
        return Urgency.CRITICAL
    return Urgency.NORMAL if news[0].kind is NewsKind.ROTATED else Urgency.LOW


# Troubles and recoveries

#: How the subjects begin that are about the end of a token.
_EXPIRY: Final = "expiry:"


def _troubles(news: Sequence[News]) -> list[Notice]:
    groups = _by_title(news)
    if len(groups) < MANY:
        return [_trouble(group) for group in groups]
    lines = [_sentence(group[0].title) for group in groups[:MANY]]
    if rest := len(groups) - MANY:
        lines.append(f"And {rest} more.")
    lines.append("`pgherald status` tells what to do.")
    title = f"{len(groups)} things do not work"
    body = "\n".join(lines)
    return [Notice(title, body, Urgency.CRITICAL, _key(news), (Action.STATUS,))]


def _trouble(group: Sequence[News]) -> Notice:
    """Troubles with the same headline. Without advice there is nothing to do but wait."""
    title, advice = group[0].title, group[0].advice
    names = [name for n in group if (name := _label(n)) not in title and name != "Heroku"]
    return Notice(
        title,
        ": ".join(part for part in (joined(names), advice) if part),
        Urgency.CRITICAL if advice else Urgency.NORMAL,
        _key(group),
        (Action.STATUS,),
    )


def _recovered(news: Sequence[News]) -> list[Notice]:
    renewed = [n for n in news if n.subject.startswith(_EXPIRY)]
    broken = [n for n in news if n not in renewed]
    groups = _by_title(broken)
    if len(groups) >= MANY:
        groups = [broken]
    return [_renewal(n) for n in renewed] + [_recovery(group) for group in groups]


def _renewal(news: News) -> Notice:
    """A token that ended soon never was down."""
    title = f"{_label(news)}: the new token is in use"
    return Notice(title, "", Urgency.LOW, _key([news]))


def _recovery(group: Sequence[News]) -> Notice:
    title = f"{joined([_label(n) for n in group])} {'works' if len(group) == 1 else 'work'} again"
    spans = [n.at - n.since for n in group if n.since is not None]
    body = f"It was down for {duration(max(spans))}." if spans else ""
    return Notice(title, body, Urgency.NORMAL, _key(group))


def _by_title(news: Iterable[News]) -> list[list[News]]:
    groups: dict[str, list[News]] = {}
    for n in news:
        groups.setdefault(n.title, []).append(n)
    return list(groups.values())


def _key(news: Sequence[News]) -> str:
    """Equal for a notice of trouble and that of its end, if they name the same subjects."""
    kind = news[0].kind if news[0].kind in WRITTEN else "health"
    return f"{kind}:{'|'.join(sorted(n.subject for n in news))}"


def _label(news: News) -> str:
    """The subject as a person calls it, short enough for a title."""
    label = news.label
    if news.subject.partition(":")[0] in ACCOUNT_KINDS:
        label = "Heroku" if label == DEFAULT_ACCOUNT else f"Heroku account {label}"
    return label if len(label) <= LABEL else f"{label[: LABEL - 1].rstrip()}…"


def _sentence(text: str) -> str:
    return f"{text.rstrip().removesuffix('.')}."
