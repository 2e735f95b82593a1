"""The certificate of the throw-away Postgres."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pgherald.errors import MissingTool
from pgherald.secret import Secret

#: Names under which a server on this machine is reached, for `sslmode=verify-full`.
_NAMES: Final = ("localhost",)
_ADDRESSES: Final = ("127.0.0.1", "::1")

#: A year and a month; what makes certificates refuses longer ones.
_LIFE: Final = timedelta(days=397)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that vouches for itself, so that it is its own root certificate.

    Attributes:
        pem: the certificate.
        key: its private key, PEM.
    """

    pem: str
    key: Secret


def make_certificate(now: datetime, name: str = "pgherald throw-away Postgres") -> Certificate:
    """Make an EC P-256 certificate for this machine's loopback.

    Args:
        now: the time, UTC. It is valid from a day before, since clocks differ.
        name: whose it is; for a client's, the role that it may be used by.

    Raises:
        MissingTool: the extra `demo` is not installed.
    """
    try:
        from cryptography import x509  # needs the extra `demo`
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ModuleNotFoundError:
        raise MissingTool(
            "The throw-away Postgres needs the package cryptography",
            "Install pgherald with the extra `demo`, from a clone: pipx install --force '.[demo]'",
        ) from None

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    alternatives: list[x509.GeneralName] = [x509.DNSName(each) for each in _NAMES]
    alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in _ADDRESSES]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _LIFE)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Certificate(
        certificate.public_bytes(serialization.Encoding.PEM).decode(),
        Secret(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ).decode()
        ),
    )
