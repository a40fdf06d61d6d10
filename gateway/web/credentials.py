"""Which credentials a route takes, in the words of the OpenAPI document. Checking them is `callers`' work."""

from __future__ import annotations

from typing import Final

from litestar.openapi.spec import SecurityRequirement

BEARER: Final = "bearer"
API_KEY: Final = "api-key"
SIGNATURE: Final = "stripe-signature"

WITH_KEY: Final[list[SecurityRequirement]] = [{BEARER: []}, {API_KEY: []}]
"""An API key in either field, or a token. What is said of no route in particular."""
WITH_TOKEN: Final[list[SecurityRequirement]] = [{BEARER: []}]
PUBLIC: Final[list[SecurityRequirement]] = [{}]
"""Whoever asks."""
SIGNED: Final[list[SecurityRequirement]] = [{SIGNATURE: []}]
