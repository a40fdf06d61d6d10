"""The sandbox's app asked without a socket: the same request and the same answer, in one turn or several."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any
from urllib.parse import urlsplit

import stripe
from litestar import Litestar


async def ask_app(
    app: Litestar, method: str, url: str, headers: Mapping[str, str], post_data: Any
) -> tuple[bytes, int, Mapping[str, str]]:
    """What the SDK's HTTP client does.

    Raises:
        stripe.APIConnectionError: the answer breaks off.
    """
    parts = urlsplit(url)
    body = post_data.encode() if isinstance(post_data, str) else post_data or b""
    fields = {"host": "127.0.0.1", "content-length": str(len(body)), **headers}
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method.upper(),
        "scheme": "http",
        "path": parts.path,
        "raw_path": parts.path.encode(),
        "query_string": parts.query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in fields.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)  # type: ignore[arg-type]  # a scope is a dict
    if sent[-1].get("more_body"):
        raise stripe.APIConnectionError("The answer broke off", should_retry=True)  # type: ignore[no-untyped-call]
    got = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return b"".join(one.get("body", b"") for one in sent[1:]), sent[0]["status"], got
