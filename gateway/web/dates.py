"""The Date field, made once a second.

Servers in front would add one to every response, also to those that already carry their
origin's; so the edge adds it where none is.
"""

from __future__ import annotations

import time
from email.utils import formatdate

from gateway.web.asgi import Headers


class DateField:
    """The current Date field."""

    __slots__ = ("_field", "_line", "_second")

    def __init__(self) -> None:
        self._second = 0
        self._field = (b"date", b"")
        self._line = b""

    def current(self) -> tuple[bytes, bytes]:
        """Name and value, for this second."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._field = (b"date", formatdate(second, usegmt=True).encode())
            self._line = b"date: " + self._field[1]
        return self._field

    def line(self) -> bytes:
        """The same as a field line."""
        self.current()
        return self._line

    def missing(self, headers: Headers) -> Headers:
        """The field as a list, empty if `headers` (names in lower case) has one."""
        return [] if any(name == b"date" for name, _ in headers) else [self.current()]
