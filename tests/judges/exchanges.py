"""Single exchanges over a raw socket, kept as they were on the wire."""

from __future__ import annotations

import base64
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

PATIENCE_S = 20.0
Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and the final response to it."""

    url: str
    request: bytes
    status_line: str
    fields: Fields
    body: bytes
    """Without its chunks."""
    complete: bool

    @property
    def status(self) -> int:
        return int(self.status_line.split(" ")[1])

    def all(self, name: str) -> list[str]:
        return [value for found, value in self.fields if found.lower() == name]

    def told(self) -> dict[str, Any]:
        """For the program in `linting`."""
        head, _, body = self.request.partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        method, target, version = line.split(" ")
        protocol, _, rest = self.status_line.partition(" ")
        return {
            "url": self.url,
            "request_line": [method, target, version.removeprefix("HTTP/")],
            "request_fields": _fields_of(lines),
            "request_body": base64.b64encode(body).decode(),
            "status_line": [protocol.removeprefix("HTTP/"), rest[:3], rest[4:]],
            "fields": self.fields,
            "body": base64.b64encode(self.body).decode(),
            "complete": self.complete,
        }


def request(method: str, target: str, *lines: str, host: str, body: bytes = b"") -> bytes:
    """A request as browsers and curl send it."""
    length = [f"Content-Length: {len(body)}"] if body else []
    first = [f"{method} {target} HTTP/1.1", f"Host: {host}", "User-Agent: judge", "Accept: */*"]
    return "\r\n".join([*first, *lines, *length, "", ""]).encode("latin-1") + body


def exchange(url: str, data: bytes) -> Exchange:
    """Send the bytes on a new connection, and read one final response."""
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), timeout=PATIENCE_S) as connection:
        connection.sendall(data)
        reader = connection.makefile("rb")
        while True:
            status_line = reader.readline().decode("latin-1").rstrip("\r\n")
            lines = []
            while (line := reader.readline()) not in {b"\r\n", b""}:
                lines.append(line.decode("latin-1").rstrip("\r\n"))
            if not status_line.startswith("HTTP/1.1 1"):
                break
        fields = _fields_of(lines)
        body, complete = _body(
            reader, data, int(status_line.split(" ")[1]), {name.lower(): value for name, value in fields}
        )
        reader.close()
    target = data.split(b" ")[1].decode("latin-1")
    return Exchange(
        url=url + target, request=data, status_line=status_line, fields=fields, body=body, complete=complete
    )


def lengths_agree(told: Exchange) -> bool:
    """Whether a stated length is the body's."""
    return all(int(length) == len(told.body) for length in told.all("content-length"))


def _fields_of(lines: list[str]) -> Fields:
    split = (re.split(r":[ \t]*", line, maxsplit=1) for line in lines)
    return tuple((name, value) for name, value in split)


def _body(reader: Any, request: bytes, status: int, fields: dict[str, str]) -> tuple[bytes, bool]:
    if request.startswith(b"HEAD ") or status in {204, 304}:
        return b"", True
    if fields.get("transfer-encoding") == "chunked":
        return _chunks(reader.readline, reader.read)
    if "content-length" in fields:
        body = reader.read(int(fields["content-length"]))
        return body, len(body) == int(fields["content-length"])
    return reader.read(), True


def _chunks(read_line: Callable[[], bytes], read: Callable[[int], bytes]) -> tuple[bytes, bool]:
    body = b""
    while line := read_line():
        size = int(line, 16)
        data = read(size + 2)
        if len(data) < size + 2:
            return body, False
        if size == 0:
            return body, True
        body += data[:-2]
    return body, False
