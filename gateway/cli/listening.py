"""The listening socket: bound once, before anything else is started, and shared by all workers."""

from __future__ import annotations

import errno
import socket
import time
from typing import Any

import click

PATIENCE_S = 5.0
"""How long an address may stay in use: the workers of a gateway that was killed let go of it within a second."""
_POLL_S = 0.1
BACKLOG = 2048
"""Connections that may wait to be accepted. The system may allow fewer (Linux: net.core.somaxconn)."""

_REASONS = {
    errno.EADDRINUSE: "something listens there already (another gateway?). Stop it, or choose another TIERGATE_PORT",
    errno.EACCES: "this user may not listen there. Ports below 1024 need a privilege: choose another TIERGATE_PORT",
    errno.EADDRNOTAVAIL: "this machine does not have that address. Correct TIERGATE_HOST",
}


def listen(host: str, port: int, *, patience_s: float = PATIENCE_S) -> socket.socket:
    """A socket that takes connections from now on: they wait until a worker is ready.

    Listening at once makes "address in use" certain: two sockets may be bound to one port as
    long as neither of them listens.

    Args:
        host: An address or a name; a name's first address is taken.
        port: 0 takes a free one.
        patience_s: How long to wait for an address that is in use.

    Raises:
        click.ClickException: The address cannot be listened on; the message says what to do.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise click.ClickException(f"Cannot listen on {host!r}: {error.strerror}. Correct TIERGATE_HOST.") from None
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return _open(family, address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                reason = _REASONS.get(error.errno or 0, str(error.strerror))
                raise click.ClickException(f"Cannot listen on {host} port {port}: {reason}.") from None
        time.sleep(_POLL_S)


def _open(family: socket.AddressFamily, address: tuple[Any, ...]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address[0] != "::"))
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    listener.set_inheritable(True)
    return listener
