"""Where the cache is, as its URL says: one server, a cluster, or whom the sentinels name.

    redis://  rediss://  unix://                                one server
    redis+cluster://user:password@host1:6379,host2:6379         the masters that any of these names
    redis+sentinel://user:password@host1:26379,host2/mymaster   the master that a sentinel names
    rediss+cluster://  rediss+sentinel://                       the same over TLS

What stands before the hosts and after `?` means what it means in the URL of one server, for each
server. `sentinel_username` and `sentinel_password` are for the sentinels, which know no other.

Law: no message repeats anything of the URL. It holds a password, perhaps in an unexpected place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, quote, unquote, urlencode

SEVERAL = frozenset({"redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel"})
"""Schemes of URLs that may name several hosts."""

_PORTS = {"cluster": 6379, "sentinel": 26379}
_OF_SENTINELS = ("sentinel_username", "sentinel_password")
_HIGHEST_PORT = 65_535

Host = tuple[str, int]
"""Name or address without brackets, and port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheUrl:
    """A URL of several hosts, read."""

    kind: Literal["cluster", "sentinel"]
    hosts: tuple[Host, ...]
    """Of some nodes of the cluster, or of the sentinels."""
    service: str
    """Name under which the sentinels know the master; '' for a cluster."""
    scheme: str
    """`redis` or `rediss`: how each server is spoken to."""
    user: str
    """User and password of the servers, as they stand in the URL, with the `@`; may be ''."""
    database: str
    options: str
    """What follows the `?`, without what is for the sentinels."""
    sentinel_user: str
    """As `user`, for the sentinels."""

    def server(self, host: str, port: int) -> str:
        """URL of one server."""
        return self._url(self.user, host, port, f"/{self.database}")

    def sentinel(self, host: str, port: int) -> str:
        """URL of one sentinel."""
        return self._url(self.sentinel_user, host, port, "")

    def _url(self, user: str, host: str, port: int, path: str) -> str:
        place = f"[{host}]" if ":" in host else host
        return f"{self.scheme}://{user}{place}:{port}{path}{'?' if self.options else ''}{self.options}"


def is_of_several(url: str) -> bool:
    """Whether `parse_cache_url` can read it: anything else is the URL of one server."""
    return url.partition("://")[0] in SEVERAL


def parse_cache_url(url: str) -> CacheUrl:
    """Read the URL of a cluster, or of sentinels.

    Raises:
        ValueError: It is none. The message is a constant.
    """
    word, _, rest = url.partition("://")
    scheme, _, word = word.partition("+")
    kind: Literal["cluster", "sentinel"] = "cluster" if word == "cluster" else "sentinel"
    place, _, query = rest.partition("?")
    names, _, path = place.partition("/")
    user, at, names = names.rpartition("@")
    given = parse_qsl(query, keep_blank_values=True)
    options = [(name, value) for name, value in given if name not in _OF_SENTINELS]
    if kind == "cluster":
        if path not in {"", "0"} or dict(given).get("db", "0") != "0":
            raise ValueError("a cluster has no databases but 0")
        if len(options) < len(given):
            raise ValueError("sentinel_username and sentinel_password mean nothing to a cluster")
        service, database = "", "0"
    else:
        service, _, database = path.partition("/")
        if not service:
            raise ValueError("it does not name the master: redis+sentinel://host:26379/mymaster")
        if not (database or "0").isdecimal():
            raise ValueError("what follows the master's name is not the number of a database")
    return CacheUrl(
        kind=kind,
        hosts=tuple(_host(name, _PORTS[kind]) for name in names.split(",")),
        service=unquote(service),
        scheme=scheme,
        user=user + at,
        database=database or "0",
        options=urlencode(options),
        sentinel_user=_sentinel_user(dict(given)),
    )


def _host(name: str, port: int) -> Host:
    host, colon, number = name.rpartition(":")
    if not colon or name.endswith("]"):  # an address of IPv6 has colons of its own
        host, number = name, str(port)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("an IPv6 address stands in brackets")
    if not host or any(character.isspace() for character in host):
        raise ValueError("one of its hosts is empty or malformed")
    if not (number.isascii() and number.isdecimal() and 0 < int(number) <= _HIGHEST_PORT):
        raise ValueError("its port is not a number from 1 to 65535")
    return host, int(number)


def _sentinel_user(given: dict[str, str]) -> str:
    name, password = (given.get(option, "") for option in _OF_SENTINELS)
    return f"{quote(name, safe='')}:{quote(password, safe='')}@" if name or password else ""
