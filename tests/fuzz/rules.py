"""What the gateway's rules make of a good request: refused though RFC 9112 allows it, or forwarded with these fields.

Written from the rules (docs/how-a-request-travels.md, docs/errors.md), apart from the code that follows them.
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from tests.fuzz.oracle import Fields, Request
from tests.fuzz.paths import DECODERS, accepted, reading

METHODS = frozenset(
    b"COPY DELETE GET HEAD LOCK MKCOL MOVE OPTIONS PATCH POST PROPFIND PROPPATCH PURGE PUT"
    b" QUERY REPORT SEARCH UNLOCK".split()
)
_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade http2-settings proxy-authenticate"
    b" proxy-authorization proxy-authentication-info".split()
)
_OURS = _HOP_BY_HOP | {b"content-length", b"host", b"expect", b"x-api-key"}
_ABOUT_THE_CALLER = (b"x-forwarded-", b"x-tiergate-")
_BILLING = frozenset(
    b"/api/v1/" + name
    for name in b"create-checkout webhook plans portal-session subscription subscription/change usage api-keys".split()
)
MAX_BODY_BYTES = 1_000_000
ADDED = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"}
)
"""What the gateway writes itself into a request: not looked at in what was forwarded. Via is: ours is its last."""


def target_of(request: Request) -> bytes:
    """As it is forwarded: an empty query is dropped with its question mark."""
    path, _, query = request.target.partition(b"?")
    return path + b"?" + query if query else path


def refused_by_server(request: Request) -> bool:
    """Whether it is refused, and the connection closed, before an app sees it."""
    return (
        request.method not in METHODS
        or request.target[:1] != b"/"
        or len(request.fields) > 256
        or request.head_bytes > 65_536
        or any(value.lower() != b"100-continue" for value in request.all(b"expect"))
        or any(int(host.rpartition(b":")[2]) > 65_535 for host in request.all(b"host") if _port(host).isdigit())
        or (
            request.method == b"OPTIONS"
            and any(not _is_number(value) or not int(value) for value in request.all(b"max-forwards"))
        )
    )


def _port(host: bytes) -> bytes:
    return host.rpartition(b"]")[2].partition(b":")[2]


def _is_number(value: bytes) -> bool:
    return value.isdigit() and len(value) <= 18


def refused_by_app(request: Request) -> bool:
    """Whether it is refused for its target or its size."""
    if request.framing is not None and max(request.framing, len(request.body)) > MAX_BODY_BYTES:
        return True
    path, _, query = request.target.partition(b"?")
    return (
        len(target_of(request)) > 8192
        or not is_plain(path)
        or not all(0x21 <= byte < 0x7F and byte != 0x23 for byte in query)
    )


def is_plain(path: bytes) -> bool:
    """Whether everybody reads a path alike, and it is nobody's other spelling."""
    if accepted(path) is None or b"//" in path:
        return False
    wanted = reading(path)
    if any(decode(path) != wanted for decode in DECODERS.values()):
        return False
    plain = unquote_to_bytes(path)
    return _is_reserved(path) or not (_is_operations(plain.lower()) or _is_reserved(plain))


def wants_websocket(request: Request) -> bool:
    """Whether it asks to go on in that protocol, or nearly."""
    return b"websocket" in b",".join(request.all(b"upgrade")).lower()


def is_ours(request: Request) -> bool:
    """Whether the gateway serves its path itself."""
    return _is_reserved(request.target.partition(b"?")[0])


def _is_reserved(path: bytes) -> bool:
    return _is_operations(path) or path in _BILLING or path.startswith(b"/api/v1/api-keys/")


def _is_operations(path: bytes) -> bool:
    return path == b"/_tiergate" or path.startswith(b"/_tiergate/")


def forwarded_fields(request: Request) -> Fields:
    """End-to-end fields in order, as the upstream gets them, but for those in `ADDED`."""
    listed = {token.strip(b" \t").lower() for value in request.all(b"connection") for token in value.split(b",")}
    kept = []
    for name, value in request.fields:
        dashed = name.replace(b"_", b"-")
        if name in listed or dashed in _OURS or dashed.startswith(_ABOUT_THE_CALLER):
            continue
        if dashed in {b"forwarded", b"x-real-ip", b"x-tiergate", b"x-request-id"}:
            continue
        if name == b"authorization" and value[:7].lower() == b"bearer " and value[7:].strip().startswith(b"tg_"):
            continue
        if name == b"cookie" and b"tiergate_" in value:
            others = [pair for pair in value.split(b";") if not pair.strip(b" \t").startswith(b"tiergate_")]
            value = b";".join(others).lstrip(b"; \t")  # noqa: PLW2901 - what is left of it
            if not value:
                continue
        if name == b"max-forwards" and value.isdigit() and int(value) > 0:
            value = b"%d" % min(int(value) - 1, 999_999_999)  # noqa: PLW2901 - one hop less
        kept.append((name, value))
    return (*kept, (b"via", request.version + b" tiergate"))


def relayed_fields(version: bytes, fields: Fields, *, drops_length: bool) -> Fields:
    """End-to-end fields of a response in order, as the caller gets them."""
    listed = {
        token.strip(b" \t").lower() for name, value in fields if name == b"connection" for token in value.split(b",")
    }
    listed -= {b"close", b"keep-alive"}
    kept = [(name, value) for name, value in fields if name not in _HOP_BY_HOP and name not in listed]
    if drops_length or b"content-length" in listed:
        kept = [field for field in kept if field[0] != b"content-length"]
    return (*kept, (b"via", version + b" tiergate"))
