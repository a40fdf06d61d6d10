"""How a problem document looks, for the OpenAPI description of our routes."""

from __future__ import annotations

import msgspec
from litestar.openapi import ResponseSpec

MEDIA_TYPE = "application/problem+json"


class FieldError(msgspec.Struct, kw_only=True):
    """What is wrong with one field."""

    field: str
    message: str


class Problem(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An error as RFC 9457 tells it. `code` is stable; `type` is the address of its explanation."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    advice: str
    links: dict[str, str]
    request_id: str = ""
    errors: list[FieldError] = []


def problems(*statuses: int) -> dict[int, ResponseSpec]:
    """The description of a route's refusals, by status. Every route may also fail with 500 and 503."""
    return {
        status: ResponseSpec(Problem, description="A problem document", media_type=MEDIA_TYPE, generate_examples=False)
        for status in (*statuses, 500, 503)
    }
