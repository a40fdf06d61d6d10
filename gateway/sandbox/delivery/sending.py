"""One attempt to hand a body to an endpoint, over HTTP or by whatever a program puts in its place."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

import httpx

Send: TypeAlias = Callable[[str, bytes, Mapping[str, str], float], Awaitable[int | str]]
"""(url, body, headers, patience in seconds) -> HTTP status, or the name of what went wrong."""


class HttpSender:
    """The usual one. Make it within the event loop that it is to use."""

    def __init__(self) -> None:
        plain_only = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody: endpoints are http:// on loopback
        self._client = httpx.AsyncClient(trust_env=False, verify=plain_only)

    async def __call__(self, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> int | str:
        """Post the body."""
        try:
            answer = await self._client.post(url, content=body, headers=dict(headers), timeout=timeout_s)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return type(error).__name__
        return answer.status_code

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()
