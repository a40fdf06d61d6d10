"""How we speak TLS to upstreams: verified always, with the system's authorities or a group's own."""

from __future__ import annotations

import ssl
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from gateway.core.upstream_policy import UpstreamTls

Fingerprint: TypeAlias = tuple[tuple[int, int, int], ...]


def tls_context(tls: UpstreamTls | None) -> ssl.SSLContext:
    """A context that verifies names and certificates. Reads files: milliseconds, off the request path.

    Raises:
        OSError: A file cannot be read, or is not what it should be (`ssl.SSLError`); a key that needs a password.
    """
    if tls is None or (tls.ca_file is None and tls.certificate_file is None):
        return _system_context()
    context = _new_context(tls.ca_file)
    if tls.certificate_file is not None:
        # An empty password: without one OpenSSL would ask for it on the terminal and hang.
        context.load_cert_chain(tls.certificate_file, tls.key_file, password="")
    return context


def fingerprint(tls: UpstreamTls | None) -> Fingerprint:
    """What changes when one of the files is replaced. A file that is missing has none."""
    files = () if tls is None else (tls.ca_file, tls.certificate_file, tls.key_file)
    return tuple(_stamp(Path(file)) for file in files if file is not None)


@cache
def _system_context() -> ssl.SSLContext:
    """One for all: the system's authorities take 10 ms and 1 MB to read."""
    return _new_context(None)


def _new_context(ca_file: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _stamp(file: Path) -> tuple[int, int, int]:
    try:
        found = file.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_ino, found.st_mtime_ns, found.st_size)
