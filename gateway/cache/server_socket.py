"""Where the embedded cache server of a data directory listens, and who answers there.

The socket is in the data directory, unless that path is too long for one. Nothing here starts
or stops anything.
"""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

import hiredis

from gateway.cache.errors import CacheServerError

_SOCKET_PATH_LIMIT = 100
"""Bytes. The kernels' limits are 108 (Linux) and 104 (macOS), with a terminating zero."""
_ASK_S = 2.0


def socket_of(directory: Path) -> Path:
    """The path of the socket: in the directory if that is short enough, else in a private one with a short name."""
    path = directory / "cache.sock"
    if len(os.fsencode(path)) <= _SOCKET_PATH_LIMIT:
        return path
    name = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    short = Path(f"tiergate-{os.getuid()}-{name}") / "s"
    temporary = Path(tempfile.gettempdir()) / short
    return temporary if len(os.fsencode(temporary)) <= _SOCKET_PATH_LIMIT else Path("/tmp") / short  # noqa: S108 - made private below


def make_private(folder: Path, directory: Path) -> None:
    """Make the folder of a socket that is not in its data directory: others may write to where it is.

    Raises:
        CacheServerError: The folder is there already and is not this user's alone.
    """
    if folder == directory:
        return
    folder.mkdir(mode=0o700, exist_ok=True)
    facts = folder.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid() or facts.st_mode & 0o077:
        raise CacheServerError(
            f"{folder} is not a private directory of this user. Remove it, or use a shorter data path."
        )


def url_of(path: Path) -> str:
    """What `Cache.connect` takes."""
    return f"unix://{quote(str(path))}"


def find_server(path: Path, directory: Path) -> int | None:
    """Process id of the server that listens at `path`, if it answers and serves our directory."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_ASK_S)
            connection.connect(str(path))
            connection.sendall(b"PING\r\nCONFIG GET dir\r\nINFO server\r\n")
            pong, config, info = _read_replies(connection, 3)
    except OSError:
        return None
    if pong != b"PONG" or not isinstance(config, list) or config[1] != os.fsencode(directory):
        return None
    facts = dict(line.partition(b":")[::2] for line in bytes(info).splitlines())
    return int(facts[b"process_id"])


def _read_replies(connection: socket.socket, count: int) -> list[Any]:
    reader = hiredis.Reader()
    replies: list[Any] = []
    while len(replies) < count:
        data = connection.recv(65_536)
        if not data:
            raise ConnectionResetError("the server closed the connection")
        reader.feed(data)
        while (reply := reader.gets()) is not False:
            replies.append(reply)
    return replies
