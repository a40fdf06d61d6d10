"""Which header fields travel on, in which direction, and what this hop adds.

Hop-by-hop fields end here, both ways. What describes the caller (X-Forwarded-*, Forwarded,
X-Tiergate-*) is believed from configured proxies only and otherwise written anew. Framing
(Content-Length, Transfer-Encoding) and Host of a request are left out: whoever writes the
request sets them. What opens this gateway ends here too: API keys, and cookies of ours. All
other fields and cookies keep their bytes, order and repetitions.

Names are also judged with `_` read as `-`, because CGI-style servers cannot tell the two apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.core.caller_fields import append_caller
from gateway.core.proxies import TrustedProxies

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Lines = list[bytes]

Headers = list[tuple[bytes, bytes]]

HANDSHAKE_PREFIX = b"sec-websocket-"
"""Fields of a WebSocket's handshake: each hop has its own, and one of them may bring an API key."""
IDENTITY_PREFIX = b"x-tiergate-"
"""Fields that tell the upstream who is calling. Only this gateway writes them."""
OUR_COOKIES = b"tiergate_"
"""Starts the names of our cookies: a page session, and claims to the first keys of checkouts."""
PSEUDONYM = b"tiergate"
"""This hop's name in Via."""

HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade http2-settings"
    b" proxy-authenticate proxy-authorization proxy-authentication-info".split()
)
"""Fields of the connection: they end at every hop, in both directions."""
_ENDS_HERE = HOP_BY_HOP | {b"content-length", b"host", b"expect", b"x-api-key", b"x-request-id"}
_JUDGED = b"idempotency-key"
"""Looked at here (`core.once`): another spelling, that was not, does not travel."""
_KEPT_INSIDE = frozenset({b"content-length", b"host", b"transfer-encoding"})
_ABOUT_THE_CALLER = frozenset({b"forwarded", b"x-real-ip"})
_BEARER = b"bearer "
_KEY_STARTS = b"tg_"

_KEEP, _DROP, _CONNECTION, _CALLER, _HOST, _CREDENTIALS, _COOKIE, _HOPS_LEFT = range(8)
_SPECIAL = {
    b"connection": _CONNECTION,
    b"host": _HOST,
    b"authorization": _CREDENTIALS,
    b"cookie": _COOKIE,
    b"max-forwards": _HOPS_LEFT,
}
_MAX_REMEMBERED = 4096
_MAX_NOTES = 16
"""Peers that send the very same fields."""
_MOST_HOPS = 999_999_999


@dataclass(frozen=True, slots=True)
class Forwarded:
    """A request's fields as they travel on. Shared: never change what is in it."""

    lines: Lines
    """Field lines, without framing, without Host, without whatever identifies the caller to us."""
    host: bytes
    """The caller's Host; b"" if there was none (HTTP/1.0)."""


class HeaderRules:
    """The rules of one gateway.

    Args:
        trusted_proxies: Addresses or networks of proxies in front, whose word on the caller
            is taken.
    """

    __slots__ = ("_callers", "_kinds", "proxies")

    def __init__(self, *, trusted_proxies: Iterable[str] = ()) -> None:
        self.proxies = TrustedProxies(trusted_proxies)
        self._kinds: dict[bytes, int] = {}
        self._callers: dict[tuple[str | None, str, bytes], Lines] = {}

    def forward(
        self,
        headers: Sequence[tuple[bytes, bytes]],
        lines: Sequence[bytes] | None,
        *,
        peer: str | None,
        scheme: str,
        http_version: str,
        notes: dict[Any, Any] | None = None,
    ) -> Forwarded:
        """The fields to send to the upstream.

        Args:
            headers: The checked request's, names in lower case.
            lines: The same fields as they came, one line each; None makes lines of `headers`.
            peer: Address of who is connected to us; None if it has none (a unix socket).
            scheme: How it is connected: `http` or `https`.
            http_version: Of the request, for Via.
            notes: Kept with these very fields and version, to find the answer again.
        """
        asked = (self, peer, scheme)
        found: Forwarded | None = notes.get(asked) if notes is not None else None
        if found is None:
            found = self._forward(headers, lines, peer=peer, scheme=scheme, http_version=http_version)
            if notes is not None and len(notes) < _MAX_NOTES:
                notes[asked] = found
        return found

    def _forward(
        self,
        headers: Sequence[tuple[bytes, bytes]],
        lines: Sequence[bytes] | None,
        *,
        peer: str | None,
        scheme: str,
        http_version: str,
    ) -> Forwarded:
        kinds = self._kinds
        sorted_out = _SortedOut(trusted=self.proxies.is_trusted(peer), joins_cookies=http_version[:1] != "1")
        kept = sorted_out.kept
        if lines is None:
            lines = [name + b": " + value for name, value in headers]
        for field, line in zip(headers, lines, strict=True):
            kind = kinds.get(field[0])
            if kind is None:
                kind = self._remember(field[0])
            if kind == _KEEP:
                kept.append(line)
            elif kind != _DROP:
                sorted_out.take(kind, field, line)
        kept = sorted_out.without_listed()
        if sorted_out.about:
            append_caller(kept, sorted_out.about, peer=peer, scheme=scheme, host=sorted_out.host)
        else:
            kept += self._caller_lines(peer, scheme, sorted_out.host)
        kept.append(via_line(http_version))
        return Forwarded(kept, sorted_out.host)

    def _caller_lines(self, peer: str | None, scheme: str, host: bytes) -> Lines:
        """What we say of a caller about whom nobody else is believed: the same for all of its requests."""
        key = (peer, scheme, host)
        lines = self._callers.get(key)
        if lines is None:
            if len(self._callers) >= _MAX_REMEMBERED:
                self._callers.clear()
            lines = self._callers[key] = []
            append_caller(lines, [], peer=peer, scheme=scheme, host=host)
        return lines

    def _remember(self, name: bytes) -> int:
        kind = _kind_of(name)
        if len(self._kinds) < _MAX_REMEMBERED:
            self._kinds[name] = kind
        return kind


class _SortedOut:
    """A request's fields, with those aside that need a second look."""

    __slots__ = ("_cookies", "_joins_cookies", "_listed", "_trusted", "about", "host", "kept")

    def __init__(self, *, trusted: bool, joins_cookies: bool) -> None:
        self._trusted = trusted
        self._joins_cookies = joins_cookies
        self._cookies: list[bytes] = []
        self._listed: set[bytes] = set()
        self.kept: Lines = []
        self.about: Headers = []
        """What a trusted proxy says about the caller."""
        self.host = b""

    def take(self, kind: int, field: tuple[bytes, bytes], line: bytes) -> None:
        """Put a special field where it belongs."""
        value = field[1]
        if kind == _HOST:
            self.host = value
        elif kind == _CONNECTION:
            self._listed |= listed_names(value)
        elif kind == _CALLER:
            if self._trusted and b"_" not in field[0]:
                self.about.append(field)
        elif kind == _COOKIE:
            self._take_cookies(field, line)
        elif kind == _HOPS_LEFT:
            self.kept.append(b"%b: %b" % (field[0], _one_hop_less(value)))
        elif kind != _CREDENTIALS or not _is_our_key(value):
            self.kept.append(line)

    def _take_cookies(self, field: tuple[bytes, bytes], line: bytes) -> None:
        others = _without_our_cookies(field[1])
        if others is None:
            return
        if self._joins_cookies:
            self._cookies.append(others)
        else:
            self.kept.append(line if others is field[1] else b"cookie: " + others)

    def without_listed(self) -> Lines:
        """What travels on, without what Connection names."""
        if self._cookies:
            self.kept.append(b"cookie: " + b"; ".join(self._cookies))  # RFC 9113 section 8.2.3
        if self._listed <= _EXPECTED_IN_CONNECTION:
            return self.kept
        return [line for line in self.kept if line.partition(b":")[0].lower() not in self._listed]


def headers_inside(headers: Iterable[tuple[bytes, bytes]], *, identity: Headers) -> Headers:
    """The fields for an app in this process, which reads them as its server would have given them.

    No hop lies between, so Host and framing stay, and claims about the caller are for the app to
    judge. The key, cookies of ours, identities of the caller's own making and fields of the
    connection end here.
    """
    replaced = {name for name, _ in identity}
    kept: Headers = []
    for name, value in headers:
        others = _without_our_cookies(value) if name == b"cookie" else value
        if others is not None and name not in replaced and _goes_inside(name, value):
            kept.append((name, others))
    return kept + identity


def _goes_inside(name: bytes, value: bytes) -> bool:
    kind = _kind_of(name)
    if kind == _CREDENTIALS:
        return not _is_our_key(value)
    if kind == _CALLER:
        return b"_" not in name
    return name in _KEPT_INSIDE or kind not in {_DROP, _CONNECTION}


def via_line(http_version: str) -> bytes:
    """This hop's Via field, for a message that came in `http_version`."""
    return _VIA.get(http_version) or b"via: %b %b" % (http_version.encode("ascii"), PSEUDONYM)


_EXPECTED_IN_CONNECTION = HOP_BY_HOP | {b"close", b"keep-alive"}
_VIA = {version: b"via: %b %b" % (version.encode(), PSEUDONYM) for version in ("1.0", "1.1", "2", "3")}


def _kind_of(name: bytes) -> int:
    dashed = name.replace(b"_", b"-")
    if dashed in _ABOUT_THE_CALLER or dashed.startswith(b"x-forwarded-"):
        return _CALLER
    if dashed.startswith((IDENTITY_PREFIX, HANDSHAKE_PREFIX)) or dashed == IDENTITY_PREFIX[:-1]:
        return _DROP
    if dashed != name:
        return _DROP if dashed in _ENDS_HERE or dashed == _JUDGED else _KEEP
    special = _SPECIAL.get(name)
    if special is not None:
        return special
    return _DROP if name in _ENDS_HERE else _KEEP


def listed_names(value: bytes) -> set[bytes]:
    """Field names listed in a Connection field, in lower case; empty list members are skipped."""
    return {token.strip(b" \t").lower() for token in value.split(b",")} - {b""}


def _is_our_key(value: bytes) -> bool:
    return value[: len(_BEARER)].lower() == _BEARER and value[len(_BEARER) :].strip().startswith(_KEY_STARTS)


def _one_hop_less(value: bytes) -> bytes:
    """Max-Forwards for the next hop, at most `_MOST_HOPS`. What is no number above 0 stays as it is.

    Source: RFC 9110 section 7.6.2.
    """
    digits = value.lstrip(b"0")
    if not digits.isdigit():
        return value
    return b"%d" % (_MOST_HOPS if len(digits) > len(str(_MOST_HOPS)) else int(digits) - 1)


def _without_our_cookies(value: bytes) -> bytes | None:
    """A Cookie field's other cookies; None if there are none."""
    if OUR_COOKIES not in value:
        return value
    others = b";".join(pair for pair in value.split(b";") if not pair.lstrip(b" \t").startswith(OUR_COOKIES))
    return others.lstrip(b"; \t") or None
