"""libpq's keywords, by whether what they hold is a secret."""

from __future__ import annotations

from typing import Final

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
    """.split()
)

#: Keywords whose value is one.
SECRET: Final = frozenset(
    ("oauth_client_secret", "password", "scram_client_key", "scram_server_key", "sslpassword")
)
