"""Paths: what policy matches is what is forwarded, whoever reads it.

A path that `core.target.canonical_path` accepts travels as it came. So every decoder that an
upstream may use has to see the segments that policy saw; decoders here are written from their
makers' rules, not from ours. And of two accepted spellings of one path both or neither match a route.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from random import Random
from urllib.parse import unquote_to_bytes

from gateway.core.errors import TargetRejected
from gateway.core.forward_rules import rewrite_path
from gateway.core.pattern import parse_pattern
from gateway.core.policy import Policy
from gateway.core.route import Route
from gateway.core.target import canonical_path
from gateway.core.upstream_policy import ForwardOptions, Rewrite
from gateway.web.reserved import ReservedPaths
from tests.fuzz.streams import Writer, bend

Segments = list[bytes]
PATTERNS = (
    "GET /v1/items/{id}", "POST /v1/items/*", "* /v1/a:b", "GET,HEAD /v1/render/**", "* /v1/100%25/**", "* /v1/%C3%A4",
    "* /v1/*/b", "/v1/~me", "* /v1/a/", "* /v1/admin/**", "* /api/**",
)  # fmt: skip
RESERVED = ReservedPaths("/api/v1")
_STRIPPED = Rewrite(strip="/v1", prefix="/inner")


def reading(raw: bytes) -> Segments:
    """RFC 3986: take apart at slashes, then decode each part."""
    return [unquote_to_bytes(part) for part in raw.split(b"/")][1:]


def _decode_then_split(raw: bytes) -> Segments:
    return unquote_to_bytes(raw).split(b"/")[1:]


def _decode_twice(raw: bytes) -> Segments:
    return [unquote_to_bytes(unquote_to_bytes(part)) for part in raw.split(b"/")][1:]


def _as_nginx(raw: bytes) -> Segments:
    """Decode, cut at `?` and `#`, merge slashes, resolve dot segments (`ngx_http_parse_complex_uri`)."""
    plain = re.split(rb"[?#]", raw)[0]
    plain = re.sub(rb"%([0-9A-Fa-f]{2})", lambda found: bytes([int(found[1], 16)]), plain)
    plain = re.sub(rb"/+", b"/", plain)
    return _resolve(plain)


def _resolve(plain: bytes) -> Segments:
    out: Segments = []
    parts = plain.split(b"/")[1:]
    for number, part in enumerate(parts):
        is_last = number == len(parts) - 1
        if part in (b".", b".."):
            if part == b".." and out:
                out.pop()
            if is_last:
                out.append(b"")
        else:
            out.append(part)
    return out


def _as_posix(raw: bytes) -> Segments:
    """A file server: decode, then normalise. What ends in a slash keeps it."""
    plain = unquote_to_bytes(raw)
    clean = posixpath.normpath(plain)
    return (clean + (b"/" if plain.endswith(b"/") and clean != b"/" else b"")).split(b"/")[1:]


def _as_servlet(raw: bytes) -> Segments:
    """Java: parameters go first, then escapes, then dot segments."""
    parts = [unquote_to_bytes(part.partition(b";")[0]) for part in raw.split(b"/")]
    return _resolve(b"/".join(parts))


def _as_browser(raw: bytes) -> Segments:
    """WHATWG URL: a backslash is a slash, tabs and line ends go, encoded dots are dots."""
    plain = re.sub(rb"[\t\r\n]", b"", raw).replace(b"\\", b"/")
    plain = re.split(rb"[?#]", plain)[0]
    plain = re.sub(rb"%2e", b".", plain, flags=re.IGNORECASE)
    return [unquote_to_bytes(part) for part in _resolve(plain)]


def _as_windows(raw: bytes) -> Segments:
    """Decode, also `%u002f` and overlong UTF-8; a backslash is a slash."""
    plain = re.sub(rb"%u00([0-9A-Fa-f]{2})", lambda found: bytes([int(found[1], 16)]), raw)
    plain = unquote_to_bytes(plain)
    for overlong, byte in ((b"\xc0\xaf", b"/"), (b"\xe0\x80\xaf", b"/"), (b"\xc0\xae", b"."), (b"\xc1\x9c", b"\\")):
        plain = plain.replace(overlong, byte)
    return _resolve(plain.replace(b"\\", b"/"))


def _as_c_string(raw: bytes) -> Segments:
    """Everything ends at a NUL, and at what looks like a line's end."""
    return re.split(rb"[\0\r\n]", unquote_to_bytes(raw))[0].split(b"/")[1:]


DECODERS: dict[str, Callable[[bytes], Segments]] = {
    "decode, then split": _decode_then_split,
    "decode twice": _decode_twice,
    "nginx": _as_nginx,
    "POSIX": _as_posix,
    "servlet": _as_servlet,
    "browser": _as_browser,
    "Windows": _as_windows,
    "C string": _as_c_string,
}


def _routes(*, encoded_slashes: bool) -> Policy:
    routes = []
    for text in PATTERNS:
        pattern = parse_pattern(text)
        options = ForwardOptions(encoded_slashes=encoded_slashes)
        routes.append(Route(pattern=pattern.text, methods=pattern.methods, segments=pattern.segments, forward=options))
    return Policy(
        policy_hash="0" * 12, default_tier=None, tiers={}, plans={}, meters={}, routes=tuple(routes), lifecycle={}
    )


POLICIES = {taken: _routes(encoded_slashes=taken) for taken in (False, True)}


def matching_route(method: str, segments: Segments, patterns: tuple[str, ...] = PATTERNS) -> int | None:
    """The first pattern that matches decoded segments, by the words of `core.route`."""
    for number, text in enumerate(patterns):
        methods, _, pattern = text.rpartition(" ")
        allowed = set(methods.split(",")) if methods not in ("", "*") else None
        if allowed is not None and "GET" in allowed:
            allowed.add("HEAD")
        if (allowed is None or method in allowed) and _covers(pattern.encode(), segments):
            return number
    return None


def _covers(pattern: bytes, segments: Segments) -> bool:
    wanted = [None if part == b"*" or part[:1] == b"{" else unquote_to_bytes(part) for part in pattern.split(b"/")][1:]
    if pattern.endswith(b"/**"):
        del wanted[-1]
        if len(segments) < len(wanted):
            return False
        segments = segments[: len(wanted)]
    return len(wanted) == len(segments) and all(
        want is None or want == part for want, part in zip(wanted, segments, strict=True)
    )


def respell(rng: Random, raw: bytes) -> bytes:
    """The same path with some bytes encoded, decoded, or in other letters: perhaps acceptable, perhaps not."""
    out = []
    for part in re.findall(rb"%[0-9A-Fa-f]{2}|.", raw, re.DOTALL):
        kind = rng.randrange(6)
        if len(part) == 3 and kind == 0:
            out.append(unquote_to_bytes(part))
        elif len(part) == 3 and kind == 1:
            out.append(part.swapcase())
        elif len(part) == 1 and kind == 2 and part != b"/":
            out.append(b"%%%02X" % part[0])
        else:
            out.append(part)
    return b"".join(out)


def draw(rng: Random) -> bytes:
    """A raw path."""
    writer = Writer(rng, rng.choice((0.0, 0.2, 0.6)))
    path = writer.path()
    if rng.random() < 0.3:
        path = bend(rng, path, rng.choice((1, 1, 2, 3)))
    if rng.random() < 0.15:
        path = rng.choice((b"/_tiergate/health", b"/api/v1/webhook", b"/api/v1/api-keys/x", b"/_TierGate"))
        path = respell(rng, path) if rng.random() < 0.7 else bend(rng, path, 1)
    return path


def accepted(raw: bytes, *, slashes: bool = False) -> str | None:
    """What policy matches; None if the path is refused."""
    try:
        return canonical_path(raw, keeps_encoded_slashes=slashes)
    except TargetRejected:
        return None


def check(rng: Random, raw: bytes) -> str | None:
    """What is wrong with the gateway's reading of a path; None if nothing is."""
    for slashes in (False, True):
        path = accepted(raw, slashes=slashes)
        if path is not None and (
            found := _check_reading(raw, path, slashes=slashes) or _check_match(rng, raw, path, slashes=slashes)
        ):
            return f"{found} (encoded slashes {'kept' if slashes else 'refused'})"
    path = accepted(raw)
    return _check_reserved(raw, path) if path is not None else None


def _check_reading(raw: bytes, path: str, *, slashes: bool) -> str | None:
    wanted = reading(raw)
    if reading(path.encode()) != wanted:
        return f"matched {path!r}, which reads {reading(path.encode())}; forwarded what reads {wanted}"
    has_slash = any(b"/" in part for part in wanted)
    if has_slash and not slashes:
        return "an encoded slash passed"
    for name, decode in DECODERS.items():
        seen = decode(raw)
        if has_slash:  # a route that takes them is for a server that does not decode first, and merges nothing
            seen, expected = _merged(seen), _merged(wanted)
        else:
            expected = wanted
        if seen != expected:
            return f"{name} reads {seen}, policy {expected}"
    if any(byte < 0x20 or byte == 0x7F for part in wanted for byte in part):
        return "a control character passed"
    return None


def _merged(segments: Segments) -> Segments:
    return [part for part in b"/".join(segments).split(b"/") if part]


def _check_match(rng: Random, raw: bytes, path: str, *, slashes: bool) -> str | None:
    other = respell(rng, raw)
    other_path = accepted(other, slashes=slashes)
    if other_path is not None and (other_path == path) != (reading(other) == reading(raw)):
        return f"{other!r} and this are matched as {other_path!r} and {path!r}"
    method = rng.choice(("GET", "HEAD", "POST", "DELETE"))
    expected = matching_route(method, reading(raw))
    try:
        route = POLICIES[slashes].find_route(method, path)
    except TargetRejected:
        return None if "%2F" in path and expected is None else "a path was refused that a route takes"
    found = None if route is None else POLICIES[slashes].routes.index(route)
    if found != expected:
        return f"{method} matches route {found}, not {expected}"
    if path.startswith("/v1/"):
        rewritten = rewrite_path(_STRIPPED, raw)
        if reading(rewritten) != [b"inner", *reading(raw)[1:]]:
            return f"rewritten to {rewritten!r}"
    return None


def _check_reserved(raw: bytes, path: str) -> str | None:
    try:
        ours = RESERVED.owns(path)
    except TargetRejected:
        return None
    if ours:
        return None
    for name, decode in DECODERS.items():
        plain = b"/" + b"/".join(decode(raw))
        if (
            plain.lower() == b"/_tiergate"
            or plain.lower().startswith(b"/_tiergate/")
            or RESERVED.owns(plain.decode("latin-1"))
        ):
            return f"forwarded, and {name} reads a reserved path: {plain!r}"
    return None
