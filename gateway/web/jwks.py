"""The public keys that assertions are checked with, for whoever asks."""

from __future__ import annotations

from litestar import Response, get
from litestar.openapi import ResponseSpec

from gateway.web.callers import FromRuntime
from gateway.web.credentials import PUBLIC

KEPT_S = 300
"""How long a copy may be used: how early a new key has to be published before it signs."""
_TYPE = "application/jwk-set+json"


@get(
    "/jwks.json",
    security=PUBLIC,
    summary="Keys of assertions",
    tags=["operations"],
    responses={200: ResponseSpec(dict[str, list[dict[str, str]]], media_type=_TYPE)},
)
async def jwks(runtime: FromRuntime) -> Response[bytes]:
    """A JSON Web Key Set (RFC 7517): the keys that `X-Tiergate-Assertion` may be signed with; empty if none are set."""
    return Response(runtime.assertions.jwks, media_type=_TYPE, headers={"cache-control": f"max-age={KEPT_S}"})
