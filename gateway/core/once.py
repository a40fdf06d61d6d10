"""`Idempotency-Key`: which calls are the same call, so that its repeats are not charged again.

A caller that did not get an answer sends the call again under the same key. One charge then pays for
the call and some repeats of it; every one of them is forwarded. What is here says what a key looks
like and what makes two calls alike; the cache remembers (`gateway/cache/lua/once.lua`).

Source: draft-ietf-httpapi-idempotency-key-header-07; bounds and the bare spelling as Stripe has them.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from gateway.core.errors import IdempotencyKeyInvalid
from gateway.core.forwarding import listed_names
from gateway.core.http_body import CHUNKED
from gateway.core.request_gate import body_framing

if TYPE_CHECKING:
    from collections.abc import Sequence

ONCE_METHODS = frozenset({"POST", "PATCH"})
"""The others can be repeated without a key."""

MOST_KEY = 255
"""Characters of a key, without quotes."""

MOST_KEYS = 10_000
"""Keys that are remembered of one customer. A call under another one is charged as if it had none: less than
5 MB of cache are what keys of one customer can take, whatever its rates."""

BUSY_S = 60
"""How long a call counts as in progress after its worker last said so: `live_calls` says it of each call that goes on.
Long enough for a cache that is away for a while, and short enough to wait for when the worker has died."""

_QUOTED = re.compile(rb'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_BARE = re.compile(rb"[!#-+\--:<-\[\]-~]+")
_DIGEST_BYTES = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class OnceTerms:
    """What policy promises to calls with a key."""

    window_s: int = 86_400
    """How long a key is remembered, from its first charged call on."""
    repeats: int = 3
    """How many repeats one charge pays for; the next is charged as a first call. Else one charge would
    buy any number of calls from an API that does not look at keys itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnceCall:
    """A call with a key."""

    digest: str
    """Of the key: what the cache knows it by."""
    fingerprint: str
    """Of the call. Another one under the same key is refused."""
    terms: OnceTerms


def read_once(
    terms: OnceTerms,
    headers: Sequence[tuple[bytes, bytes]],
    method: str,
    path: bytes,
    query: bytes,
    http_version: str,
) -> OnceCall | None:
    """What a call says about repeats; None: nothing.

    Two calls are alike if method, path, query and the announced length of the body are: the body itself
    has not arrived when the call is charged. A call whose body announces no length is like no other: its
    key means nothing.

    Args:
        terms: Of the route.
        headers: Names in lower case.
        method: In capitals.
        path: As sent.
        query: As sent.
        http_version: Of the call: without a length, its body is empty in HTTP/1.1 and unknown in HTTP/2.

    Raises:
        IdempotencyKeyInvalid: A key that is empty, too long, misspelled, sent twice, or not for the API.
    """
    field, length, is_hidden = None, b"", False
    for name, value in headers:
        if name == b"idempotency-key":
            if field is not None:
                raise IdempotencyKeyInvalid("The request carries more than one Idempotency-Key; send one.")
            field = value
        elif name == b"content-length":
            length = value
        elif name == b"connection" and b"idempotency-key" in listed_names(value):
            is_hidden = True
    if field is None:
        return None
    if is_hidden:
        raise IdempotencyKeyInvalid("Connection names Idempotency-Key, which would keep it from the API.")
    key = parse_once_key(field)
    if body_framing(headers, http_version) == CHUNKED:
        return None
    parts = (method.encode(), path, query, length)
    return OnceCall(
        digest=_digest(key),
        fingerprint=_digest(b"".join(b"%d:%b" % (len(part), part) for part in parts)),
        terms=terms,
    )


def parse_once_key(value: bytes) -> bytes:
    """The key in a field: a quoted string, as the draft has it, or bare, as most clients send it; both are alike.

    Raises:
        IdempotencyKeyInvalid: It is neither, or longer than `MOST_KEY`.
    """
    text = value.strip(b" \t")
    quoted = _QUOTED.fullmatch(text)
    key = re.sub(rb"\\(.)", rb"\1", quoted[1]) if quoted is not None else text
    if len(key) > MOST_KEY:
        raise IdempotencyKeyInvalid(f"The Idempotency-Key is longer than {MOST_KEY} characters.")
    if not key or (quoted is None and _BARE.fullmatch(text) is None):
        raise IdempotencyKeyInvalid(
            "The Idempotency-Key is not one quoted string, or one word without quotes, commas, semicolons or spaces."
        )
    return key


def _digest(data: bytes) -> str:
    return urlsafe_b64encode(blake2b(data, digest_size=_DIGEST_BYTES).digest()).decode()
