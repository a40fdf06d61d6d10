"""Cross-origin requests: what a browser is told, as policy says it.

A preflight is answered here, without a key and without a charge: browsers send none with it. Every
other request is admitted as always, and its response, a refusal too, says who may read it. What an
upstream says about that gives way: two words about one origin are none to a browser.

Source: WHATWG Fetch, "CORS protocol".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.core.upstream_policy import Cors

    Headers = Iterable[tuple[bytes, bytes]]

Lines = list[bytes]


_OF_CORS = b"access-control-"


def without_cors(lines: Lines) -> Lines:
    """The field lines of a response without what its upstream says about other origins."""
    return [line for line in lines if line[: len(_OF_CORS)].lower() != _OF_CORS]


def asked_method(method: str, headers: Headers) -> str | None:
    """The method that a preflight asks about; None if the request is none."""
    if method != "OPTIONS":
        return None
    found = {name: value for name, value in headers if name in (b"origin", b"access-control-request-method")}
    asked = found.get(b"access-control-request-method")
    return asked.decode("latin-1") if asked is not None and b"origin" in found else None


def preflight_lines(cors: Cors, method: str, headers: Headers) -> Lines:
    """The fields of a preflight's answer. One that allows nothing is an answer too.

    Args:
        cors: Of the route that would be called.
        method: `asked_method`.
        headers: The preflight's.
    """
    found = {name: value for name, value in headers if name.startswith((b"origin", b"access-control-request-"))}
    lines = response_lines(cors, found.get(b"origin"), exposes=False)
    asked = found.get(b"access-control-request-headers", b"")
    if len(lines) > 1 and method in cors.methods:
        lines.append(b"access-control-allow-methods: " + ", ".join(cors.methods).encode())
        allowed = asked if cors.headers == ("*",) else ", ".join(cors.headers).encode()
        if allowed:
            lines.append(b"access-control-allow-headers: " + allowed)
        lines.append(b"access-control-max-age: %d" % cors.max_age_s)
    lines[0] = b"vary: origin, access-control-request-method, access-control-request-headers"
    return lines


def call_lines(cors: Cors, headers: Headers) -> Lines:
    """The fields of the response to a call that came with these headers."""
    return response_lines(cors, next((value for name, value in headers if name == b"origin"), None))


def may_connect(cors: Cors, headers: Headers) -> bool:
    """Whether a page of this origin may open a WebSocket.

    No preflight asks for one and no browser looks at its answer, so what the policy says of other
    sites has to be held here. Programs send no Origin; a page of this very host is no other site.
    """
    found = {name: value for name, value in headers if name in (b"origin", b"host")}
    origin = found.get(b"origin")
    if origin is None or cors.origins == ("*",) or origin.decode("latin-1") in cors.origins:
        return True
    return origin.partition(b"://")[2].lower() == found.get(b"host", b"").lower() != b""


def response_lines(cors: Cors, origin: bytes | None, *, exposes: bool = True) -> Lines:
    """The fields of any other response; the first is Vary, so that no cache gives one origin's answer to another."""
    lines = [b"vary: origin"]
    if origin is None:
        return lines
    if cors.origins == ("*",):
        lines.append(b"access-control-allow-origin: *")
    elif origin.decode("latin-1") in cors.origins:
        lines.append(b"access-control-allow-origin: " + origin)
        if cors.credentials:
            lines.append(b"access-control-allow-credentials: true")
    else:
        return lines
    if exposes and cors.expose:
        lines.append(b"access-control-expose-headers: " + ", ".join(cors.expose).encode())
    return lines
