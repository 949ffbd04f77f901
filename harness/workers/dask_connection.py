"""Connects to a Dask scheduler: checks the address, loads the certificates, and waits for an answer."""

from __future__ import annotations

import logging
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from distributed import Client, Security

from harness.errors import StoppedError, UsageError, first_line

# The time limit, in seconds, for connecting to a scheduler, and for receiving its first byte.
_ANSWER_S = 10.0
# If the scheduler is unreachable for this time, in seconds, the study stops.
SCHEDULER_S = 30.0
_ADDRESS_REMEDY = "Give the address that the scheduler prints: tcp://HOST:PORT, or tls://HOST:PORT with TLS."


@dataclass(frozen=True)
class Tls:
    """The PEM files of an encrypted connection.

    Attributes:
        ca: Certificate of the certificate authority.
        cert: Certificate of this machine.
        key: Private key of this machine.
    """

    ca: Path
    cert: Path
    key: Path


def silence() -> None:
    """Disable Dask's log messages.

    The harness prints its own messages about the cluster.
    """
    for name in ("distributed", "distributed.client", "distributed.gc", "tornado", "tornado.application"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def checked_address(address: str, tls: Tls | None) -> str:
    """Return the address in the form that Dask requires: ``tls://`` with certificates, ``tcp://`` without.

    Raises:
        UsageError: The address is malformed, or it is a ``tls://`` address and there are no certificates.
    """
    try:
        parts = urlsplit(address)
        well_formed = parts.scheme in {"tcp", "tls"} and parts.hostname and parts.port and not parts.path.strip("/")
    except ValueError:
        well_formed = False
    if not well_formed:
        raise UsageError(f"{address!r} is not the address of a scheduler", _ADDRESS_REMEDY)
    if parts.scheme == "tls" and tls is None:
        raise UsageError(f"{address} is encrypted", "Give --tls-ca, --tls-cert and --tls-key too.")
    return f"{'tls' if tls else 'tcp'}://{parts.netloc}"


def security_of(tls: Tls | None) -> Security | None:
    """Return Dask's security settings for these certificates, or None without certificates.

    Raises:
        UsageError: The certificate files cannot be used.
    """
    if tls is None:
        return None
    security = Security(
        tls_ca_file=str(tls.ca),
        tls_client_cert=str(tls.cert),
        tls_client_key=str(tls.key),
        require_encryption=True,
    )
    try:
        security.get_connection_args("client")
    except (ssl.SSLError, OSError) as error:
        cause = f"the files of --tls-ca, --tls-cert and --tls-key cannot be used: {error}"
        raise UsageError(cause, "All three are PEM files, and the key must match the certificate.") from error
    return security


def connect(address: str, security: Security | None) -> Client:
    """Connect to the scheduler at this address.

    Raises:
        StoppedError: No server listens at this address, or the server is not a Dask scheduler.
    """
    parts = urlsplit(address)
    try:
        connection = socket.create_connection((str(parts.hostname), parts.port or 0), timeout=_ANSWER_S)
    except OSError as error:
        cause = f"no scheduler listens at {address} ({error.strerror or error})"
        raise StoppedError(cause, "Start a scheduler (docs/cluster.md, or harness cluster on this machine).") from error
    try:
        with connection:
            _check_greeting(connection, security)
        return Client(address, timeout=SCHEDULER_S, security=security, set_as_default=False)
    except (OSError, RuntimeError) as error:
        cause = f"the server at {address} is not a Dask scheduler ({innermost(error)})"
        remedy = (
            "Read the server's log. If one side uses TLS, the other side must use TLS too. The certificates of both "
            "sides must be from the same authority."
        )
        raise StoppedError(cause, remedy) from error


def _check_greeting(connection: socket.socket, security: Security | None) -> None:
    """Check that the server sends a first byte, as a scheduler does.

    Without this check, Dask's client would wait forever for a server that sends nothing.

    Raises:
        OSError: The server sends nothing, or the certificates are refused.
    """
    if security is None:
        heard = connection.recv(1)
    else:
        context: ssl.SSLContext = security.get_connection_args("client")["ssl_context"]
        with context.wrap_socket(connection) as encrypted:
            heard = encrypted.recv(1)
    if not heard:
        raise ConnectionError("it closed the connection")


def innermost(error: BaseException) -> str:
    """Return the first line of an error's root cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)
