"""Sending a problem document at the edge, with what belongs to every answer of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.errors import TiergateError
from gateway.web.dates import DateField
from gateway.web.problems import problem_response

if TYPE_CHECKING:
    from gateway.web.asgi import Headers, Scope, Send
    from gateway.web.runtime import Runtime

date_field = DateField()
_ENDS_CONNECTION = frozenset(
    {
        "malformed-request",
        "http-version-not-supported",
        "body-incomplete",
        "body-too-large",
        "request-timeout",
        "expectation-failed",
    }
)
"""Where the message ends is not sure, or it is not worth reading until there: nothing after it is read as a request."""


async def send_problem(
    runtime: Runtime, scope: Scope, send: Send, error: TiergateError, decision_id: str | None, extra: Headers
) -> int:
    """Answer with a problem document. Returns its status."""
    status, headers, body = problem_response(error, runtime.site, decision_id=decision_id)
    if error.code in _ENDS_CONNECTION and scope["http_version"] not in {"2", "3"}:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, date_field.current(), *extra]})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
    return status
