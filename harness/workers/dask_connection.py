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

# The time limit for connecting to the address of a scheduler and for its first byte.
_ANSWER_S = 10.0
# The time limit for an unreachable scheduler, at the start and later. After it, the study stops.
SCHEDULER_S = 30.0
_ADDRESS_REMEDY = "An address is tcp://HOST:PORT, as the scheduler prints it; with TLS, tls://HOST:PORT."


@dataclass(frozen=True)
class Tls:
    """The PEM files of an encrypted connection.

    Attributes:
        ca: Certificate of the authority.
        cert: Certificate of this machine.
        key: Private key of this machine.
    """

    ca: Path
    cert: Path
    key: Path


def silence() -> None:
    """Keep Dask's log off the terminal.

    The harness reports what matters itself.
    """
    for name in ("distributed", "distributed.client", "distributed.gc", "tornado", "tornado.application"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def checked_address(address: str, tls: Tls | None) -> str:
    """The address in Dask's form: ``tls://`` with certificates, else ``tcp://``.

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
    """Dask's security settings for these certificates; None without certificates.

    Raises:
        UsageError: The files cannot be used.
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
        StoppedError: Nothing listens at this address, or the listener does not answer like a scheduler.
    """
    parts = urlsplit(address)
    try:
        connection = socket.create_connection((str(parts.hostname), parts.port or 0), timeout=_ANSWER_S)
    except OSError as error:
        cause = f"no scheduler listens at {address} ({error.strerror or error})"
        raise StoppedError(cause, "Start it (docs/cluster.md, or harness cluster on this machine).") from error
    try:
        with connection:
            _check_greeting(connection, security)
        return Client(address, timeout=SCHEDULER_S, security=security, set_as_default=False)
    except (OSError, RuntimeError) as error:
        cause = f"the server at {address} is not a Dask scheduler ({innermost(error)})"
        remedy = "Look at its log. Both sides must use TLS with certificates of one authority, or neither."
        raise StoppedError(cause, remedy) from error


def _check_greeting(connection: socket.socket, security: Security | None) -> None:
    """Read the first byte that a scheduler sends.

    Dask's client waits forever for a server that sends nothing.

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
    """The first line of the error at the end of a chain of causes."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)
