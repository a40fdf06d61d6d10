"""Route patterns as policy writes them: `POST /v1/render/**`, `GET,POST /v1/{id}`, `* /v1/**`, `/v1/**`.

Also the question which pattern hides which. Segments are those of `core.route`, literals in the
spelling of `core.target`: what `canonical_path` refuses in a request is refused in a pattern.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from operator import itemgetter

from gateway.core.errors import TargetRejected
from gateway.core.nearest import nearest_name
from gateway.core.segment_tree import SegmentTree
from gateway.core.target import canonical_path

RESERVED_SEGMENT = "_tiergate"
"""First path segment of the gateway's own operations: never proxied, so never a route."""

METHODS = frozenset(
    {
        "COPY",
        "DELETE",
        "GET",
        "HEAD",
        "LOCK",
        "MKCOL",
        "MOVE",
        "OPTIONS",
        "PATCH",
        "POST",
        "PROPFIND",
        "PROPPATCH",
        "PURGE",
        "PUT",
        "QUERY",
        "REPORT",
        "SEARCH",
        "UNLOCK",
    }
)
"""Methods that may be proxied. TRACE and CONNECT never are."""

_PARAMETER = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*\}")


class PatternInvalid(ValueError):
    """Not a pattern that a request could match. `suggestion` is the nearest right text, if any."""

    def __init__(self, message: str, suggestion: str | None = None) -> None:
        super().__init__(message)
        self.suggestion = suggestion


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """A compiled pattern."""

    text: str
    """As written, normalised: methods in order of the alphabet, `*` for any."""
    methods: frozenset[str] | None
    """None: any method. GET brings HEAD."""
    segments: tuple[str, ...]


def parse_pattern(text: str) -> Pattern:
    """Read `[METHODS] PATH`.

    Raises:
        PatternInvalid: An unknown method, or a path that no canonical request path can match.
    """
    words = text.split()
    if len(words) > 2 or not words:  # noqa: PLR2004 - methods and a path
        raise PatternInvalid(f"{text[:60]!r} is not a pattern: write a method and a path, like 'GET /v1/**'")
    path = words[-1]
    if not path.startswith("/"):
        raise PatternInvalid(f"{path[:60]!r} is not a path: it starts with '/', like 'GET /v1/**'")
    named = _parse_methods(words[0]) if len(words) == 2 else None  # noqa: PLR2004 - as above
    segments = _parse_path(path)
    methods = named | {"HEAD"} if named is not None and "GET" in named else named
    return Pattern(
        text=f"{'*' if named is None else ','.join(sorted(named))} {path}", methods=methods, segments=segments
    )


class Precedence:
    """Patterns in the order in which they are tried, and which of them hides one that is to come behind them."""

    def __init__(self) -> None:
        self._tree: SegmentTree[tuple[int, Pattern]] = SegmentTree()
        self._added = 0

    def find_hiding(self, later: Pattern) -> Pattern | None:
        """The pattern that hides `later` for every method it has, or the last of several that do so together."""
        is_open = later.segments[-1:] == ("**",)
        numbered = self._tree.covering(later.segments[:-1] if is_open else later.segments, is_open=is_open)
        covering = [pattern for _, pattern in sorted(numbered, key=itemgetter(0))]
        for pattern in covering:
            if pattern.methods is None:
                return pattern
        if later.methods is None:
            return None
        hidden: set[str] = set()
        for pattern in covering:
            hidden |= pattern.methods or set()
            if later.methods <= hidden:
                return pattern
        return None

    def add(self, pattern: Pattern) -> None:
        """Try `pattern` behind those that were added before. One that is hidden need not be: it decides nothing."""
        self._tree.insert(pattern.segments, (self._added, pattern))
        self._added += 1


def _parse_methods(text: str) -> frozenset[str] | None:
    if text == "*":
        return None
    names = re.split(r"[,|]", text)
    for name in names:
        if name in METHODS:
            continue
        if name.upper() in {"TRACE", "CONNECT"}:
            raise PatternInvalid(f"{name} is never forwarded by a gateway")
        message = f"{name[:40]!r} is not a method that is proxied; write it in capitals, or '*' for any"
        raise PatternInvalid(message, nearest_name(name, METHODS))
    return frozenset(names)


def _parse_path(path: str) -> tuple[str, ...]:
    if "?" in path or "#" in path:
        raise PatternInvalid("a pattern is a path only: the query string takes no part in matching")
    parts = path.split("/")[1:]
    if parts[0].casefold() == RESERVED_SEGMENT:
        raise PatternInvalid(f"/{RESERVED_SEGMENT} is reserved for the gateway itself and is never proxied")
    last = len(parts) - 1
    return tuple(_parse_segment(part, is_last=index == last) for index, part in enumerate(parts))


def _parse_segment(part: str, *, is_last: bool) -> str:
    if part == "**":
        if not is_last:
            raise PatternInvalid("'**' stands for all that follows, so it can only be the last segment")
        return part
    if part == "*" or _PARAMETER.fullmatch(part):
        return "*"
    if part == "" and not is_last:
        raise PatternInvalid("'//' is refused in requests, so this pattern could never match")
    if "*" in part:
        raise PatternInvalid(f"{part!r}: '*' stands for one whole segment and cannot be part of one", "*")
    if "{" in part or "}" in part:
        raise PatternInvalid(f"{part!r}: a parameter is one whole segment, like '{{id}}'")
    try:
        literal = canonical_path(f"/{part}".encode())[1:]
    except TargetRejected as rejected:
        raise PatternInvalid(f"{part[:60]!r} could never match, as such requests are refused: {rejected}") from None
    if literal in ("*", "**"):
        raise PatternInvalid(f"{part!r} is a star, which always stands for something else: it cannot be a name")
    return literal
