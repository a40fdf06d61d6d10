"""What this hop says of the caller: X-Forwarded-For, -Proto and -Host, and Forwarded where a proxy in front said it.

Source: RFC 7239.
"""

from __future__ import annotations


def append_caller(
    kept: list[bytes], about: list[tuple[bytes, bytes]], *, peer: str | None, scheme: str, host: bytes
) -> None:
    """Say who called: what trusted proxies said, then what we saw."""
    chain: list[bytes] = []
    said: set[bytes] = set()
    for name, value in about:
        said.add(name)
        if name == b"x-forwarded-for":
            chain.append(value)
        elif name != b"forwarded":
            kept.append(b"%b: %b" % (name, value))
    address = peer.encode("latin-1", "replace") if peer is not None else b"unknown"
    kept.append(b"x-forwarded-for: " + b", ".join([*chain, address]))
    if b"x-forwarded-proto" not in said:
        kept.append(b"x-forwarded-proto: " + scheme.encode("ascii"))
    if b"x-forwarded-host" not in said and host:
        kept.append(b"x-forwarded-host: " + host)
    if b"forwarded" in said:
        kept += [b"forwarded: " + value for name, value in about if name == b"forwarded"]
        kept.append(b"forwarded: for=%s;proto=%s" % (_forwarded_node(peer), scheme.encode("ascii")))


def _forwarded_node(peer: str | None) -> bytes:
    if peer is None:
        return b"unknown"
    node = peer.encode("latin-1", "replace")
    return b'"[%s]"' % node if b":" in node else node
