"""The texts the person reads: news in, notices out. Pure.

What is shown, and how loudly:

    rotating    only if verifying the new login takes a while; the notice of its end takes its
                place
    rotated     always; three or more at once become one summary
    added       one quiet line: the person has just asked for it
    mended      not at all: the client is right again and there is nothing to do, and
                an editor or a restore from backup would cause it day after day. The
                log and `pgherald history` have it. Unless a server is to be reopened
    trouble     always; troubles with the same headline become one
    recovered   always; likewise

Whatever leaves something for the person to do is critical, so that it stays on the screen.
A text holds labels, clients and advice, and never a secret, host, user or file content.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final

from pgherald.errors import Forbidden, LoginRequired, OtherLogin, TwoFactorRequired
from pgherald.model import DEFAULT_ACCOUNT, About, News, NewsKind
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

#: Something stopped working, and works again.
_EDGES: Final = (NewsKind.TROUBLE, NewsKind.RECOVERED)

#: How a summary counts, the most important first.
_COUNTED: Final = {
    NewsKind.TROUBLE: ("trouble", "troubles"),
    NewsKind.ROTATED: ("rotation", "rotations"),
    NewsKind.RECOVERED: ("recovery", "recoveries"),
    NewsKind.ADDED: ("new database", "new databases"),
    NewsKind.MENDED: ("repair", "repairs"),
}

#: Errors of an account that are its token's.
_OF_THE_TOKEN: Final = frozenset(
    kind.__name__ for kind in (LoginRequired, OtherLogin, Forbidden, TwoFactorRequired)
)

#: Kinds of subjects that a notice of trouble names; others say by their title what they are.
_NAMED: Final = frozenset({About.DATABASE, About.FORMAT, About.CLIENT})


def notice_for(news: Sequence[News]) -> list[Notice]:
    """Turn what happened at about the same moment into as few notices as possible.

    The most urgent come last, since desktops put the latest on top.
    """
    notices = _notices(_worth_showing(news))
    return sorted(notices, key=lambda notice: notice.urgency is Urgency.CRITICAL)


def summary_of(news: Sequence[News]) -> list[Notice]:
    """What happened during quiet hours, as one notice; none if nothing is still worth telling."""
    news = _worth_showing([n for n in news if n.kind is not NewsKind.ROTATING])
    # In a text, what is most urgent comes first.
    notices = notice_for(news)[::-1]
    if len(notices) <= 1:
        return notices
    urgency = notices[0].urgency
    counts = [(sum(n.kind is kind for n in news), *names) for kind, names in _COUNTED.items()]
    counted = [f"{count} {one if count == 1 else many}" for count, one, many in counts if count]
    body = _listed([notice.title for notice in notices], advise=urgency is Urgency.CRITICAL)
    buttons = (Action.STATUS,) if urgency is Urgency.CRITICAL else (Action.HISTORY,)
    return [Notice(f"In your quiet hours: {joined(counted)}", body, urgency, "quiet", buttons)]


def line_for(news: News) -> str:
    """One piece of news as one line of the log."""
    (notice,) = _notices([news])
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


def _worth_showing(news: Sequence[News]) -> list[News]:
    """Leave out silent repairs, beginnings whose end is known, and troubles that only blinked.

    Of several edges of one subject only the last is worth showing; none is, if the
    first was a trouble and the last is its end.
    """
    ended = {n.subject for n in news if n.kind is not NewsKind.ROTATING}
    edges: dict[str, list[News]] = {}
    for n in news:
        if n.kind in _EDGES:
            edges.setdefault(n.subject, []).append(n)

    def worth(n: News) -> bool:
        if n.kind is NewsKind.ROTATING:
            return n.subject not in ended
        if n.kind in _EDGES:
            first, last = edges[n.subject][0], edges[n.subject][-1]
            return n is last and (first.kind, last.kind) != _EDGES
        return n.kind is not NewsKind.MENDED or bool(n.behind) or needs_hand(n)

    return [n for n in news if worth(n)]


def _notices(news: Sequence[News]) -> list[Notice]:
    """The notices of each kind, without a look at what is worth showing."""
    of_kind = {kind: [n for n in news if n.kind is kind] for kind in NewsKind}
    notices = _rotating(of_kind[NewsKind.ROTATING])
    for kind in (NewsKind.MENDED, NewsKind.ADDED, NewsKind.ROTATED):
        many = len(of_kind[kind]) >= MANY
        notices += [_summary(of_kind[kind])] if many else map(_written, of_kind[kind])
    return [
        *notices,
        *_recovered(of_kind[NewsKind.RECOVERED]),
        *_alerts(of_kind[NewsKind.TROUBLE]),
    ]


def _listed(titles: Sequence[str], *, advise: bool) -> str:
    """The first titles as sentences, how many more there are, and where to read on."""
    lines = [_sentence(title) for title in titles[:MANY]]
    if (rest := len(titles) - MANY) > 0:
        lines.append(f"And {rest} more.")
    return "\n".join([*lines, *(["`pgherald status` says what to do."] if advise else [])])


# Rotating, rotated, added, mended


def _rotating(news: Sequence[News]) -> list[Notice]:
    if len(news) >= MANY:
        return [_beginning(f"{len(news)} databases", "logins are", _MANY_ROTATED)]
    return [_beginning(_label(n), "login is", f"{NewsKind.ROTATED}:{n.subject}") for n in news]


def _beginning(what: str, logins: str, replaces: str) -> Notice:
    title = f"Heroku is rotating {what} …"
    return Notice(title, f"The new {logins} being proven.", replaces=replaces, passing=True)


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
    lines += _by_hand(news)
    title = one.format(_label(news))
    return Notice(title, "\n".join(lines), _urgency([news]), _key([news]), _buttons([news]))


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
    return news.reopen or (news.kind is NewsKind.ROTATED and "dbname" in news.changed)


def _by_hand(news: News) -> list[str]:
    if not needs_hand(news):
        return [_REFRESH] if news.refresh else []
    if news.kind is not NewsKind.ROTATED or "dbname" not in news.changed:
        return ["In pgAdmin, reopen the server: disconnect from it, and connect again."]
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


def _alerts(news: Sequence[News]) -> list[Notice]:
    groups = _by_title(news)
    if len(groups) < MANY:
        return [_trouble(group) for group in groups]
    body = _listed([group[0].title for group in groups], advise=True)
    title = f"{len(groups)} things do not work"
    return [Notice(title, body, Urgency.CRITICAL, _key(news), (Action.STATUS,))]


def _trouble(group: Sequence[News]) -> Notice:
    """Troubles with the same headline. Without advice there is nothing to do but wait."""
    advice = group[0].advice
    names = [_label(n) for n in group if _is_named(n)]
    return Notice(
        group[0].title,
        ": ".join(part for part in (joined(names), advice) if part),
        Urgency.CRITICAL if advice else Urgency.NORMAL,
        _key(group),
        (Action.STATUS,),
    )


def _recovered(news: Sequence[News]) -> list[Notice]:
    # A token that ended soon never was down.
    renewed = [n for n in news if n.subject.about is About.EXPIRY]
    broken = [n for n in news if n not in renewed]
    groups = _by_title(broken)
    if len(groups) >= MANY:
        groups = [broken]
    return [
        *(
            Notice(f"{_label(n)}: the new token is in use", "", Urgency.LOW, _key([n]))
            for n in renewed
        ),
        *(_recovery(group) for group in groups),
    ]


def _recovery(group: Sequence[News]) -> Notice:
    title = f"{joined([_label(n) for n in group])} {'works' if len(group) == 1 else 'work'} again"
    spans = [n.at - n.since for n in group if n.since is not None]
    body = f"It had not worked for {duration(max(spans))}." if spans else ""
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


def _is_named(news: News) -> bool:
    """Whether its title does not say by itself what it is about."""
    about = news.subject.about
    return about in _NAMED or (about.is_account and not _is_only_account(news))


def _is_only_account(news: News) -> bool:
    return news.subject.about.is_account and news.subject.key == DEFAULT_ACCOUNT


def _label(news: News) -> str:
    """The subject as a person calls it, short enough for a title."""
    label = news.label
    if news.subject.about.is_account:
        label = "Heroku" if _is_only_account(news) else f"Heroku account {label}"
        if news.kind is NewsKind.RECOVERED and news.error in _OF_THE_TOKEN:
            label = f"The {label} token"
    return label if len(label) <= LABEL else f"{label[: LABEL - 1].rstrip()}…"


def _sentence(text: str) -> str:
    return f"{text.rstrip().removesuffix('.')}."
