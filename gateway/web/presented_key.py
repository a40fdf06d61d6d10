"""The API key of a request, as its caller sent it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.errors import MalformedRequest

if TYPE_CHECKING:
    from gateway.web.asgi import Headers

_BEARER = b"bearer "
_KEY_STARTS = b"tg_"


def presented_key(headers: Headers) -> bytes | None:
    """The API key as sent: `X-API-Key`, or a bearer token that looks like one of ours.

    A bearer token of another kind is the proxied API's own business.

    Raises:
        MalformedRequest: Two different keys; which one counts would be a guess.
    """
    found: bytes | None = None
    for name, value in headers:
        if name == b"x-api-key":
            key = value.strip()
        elif name == b"authorization" and value[: len(_BEARER)].lower() == _BEARER:
            key = value[len(_BEARER) :].strip()
            if not key.startswith(_KEY_STARTS):
                continue
        else:
            continue
        if found is not None and key != found:
            raise MalformedRequest("The request carries two different API keys; send one.")
        found = key
    return found
