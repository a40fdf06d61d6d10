"""Free ports on loopback, for servers that take a number and no socket."""

from __future__ import annotations

import socket
import sys


def free_port() -> int:
    """A TCP port on loopback that nobody has, and on Linux nobody else gets while this process lives.

    A number alone may be gone before its server listens, or between two runs of it: the kernel gives it
    to whoever asks for any port. So it stays bound, and never listens: who connects meanwhile is refused.
    A server may listen there all the same if it sets SO_REUSEADDR, as servers do; other kernels than
    Linux would not let it.

    Source: socket(7), ip(7).
    """
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", 0))
    port: int = bound.getsockname()[1]
    if sys.platform == "linux":
        bound.detach()  # it is never closed: a port may be used again after its server was killed
    else:
        bound.close()
    return port
