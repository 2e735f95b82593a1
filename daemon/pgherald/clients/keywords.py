"""libpq's keywords: which of their values may be shown."""

from __future__ import annotations

import re
from typing import Final

from pgherald.clients import block, lines

#: Keywords whose value is no secret, from the oldest libpq in use to PostgreSQL 19.
PUBLIC: Final = frozenset(
    """
    application_name authtype channel_binding client_encoding connect_timeout dbname
    fallback_application_name gssdelegation gssencmode gsslib host hostaddr keepalives
    keepalives_count keepalives_idle keepalives_interval krbsrvname load_balance_hosts
    max_protocol_version min_protocol_version oauth_client_id oauth_issuer oauth_scope
    options passfile port replication require_auth requirepeer requiressl service
    servicefile ssl_max_protocol_version ssl_min_protocol_version sslcert sslcertmode
    sslcompression sslcrl sslcrldir sslkey sslkeylogfile sslmode sslnegotiation
    sslrootcert sslsni target_session_attrs tcp_user_timeout tty user
    """.split()  # noqa: SIM905 – sixty words read better than sixty quoted ones
)

#: Keywords whose value is one.
SECRET: Final = frozenset(
    ("oauth_client_secret", "password", "scram_client_key", "scram_server_key", "sslpassword")
)

_HEADER: Final = re.compile(r"\[[^\]]*\]")


def redacted(line: str) -> str:
    """A line of a service file with its value masked, unless that is known to be no secret.

    Comments count, and so do spellings that libpq refuses: `# Password = …`. A line that is
    no `key=value`, or whose key nobody knows, is masked whole: it may be the rest of a
    password that someone broke in two.
    """
    text = line.strip()
    if not text or block.is_ours(text.encode()) or _HEADER.fullmatch(text):
        return line
    before, equals, value = line.partition("=")
    key = before.lstrip("# \t").rstrip().lower()
    comment = text.startswith("#")
    if key in PUBLIC or (comment and not equals):
        shown = len(line)
    elif equals and (comment or key in SECRET or "password" in key or "secret" in key):
        shown = len(line) - len(value.lstrip())
    else:
        shown = 0
    return lines.mask_from(line, min(shown, lines.secret_at(line)))
