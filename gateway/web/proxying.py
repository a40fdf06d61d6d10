"""The default exchange: the reverse proxy. Decides which fields travel, and which upstream is asked."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from urllib.parse import quote

from gateway.admission import Attempt
from gateway.core.forwarding import HeaderRules
from gateway.core.request_gate import body_framing
from gateway.upstream import AsgiCaller, Exchange, ExchangeRequest, OnStart, Outcome
from gateway.web.asgi import Headers, Receive, Scope, Send
from gateway.web.front import CALLER, Cycle
from gateway.web.runtime import Runtime

_REQUEST_ID = b"x-request-id"


class ReverseProxy:
    """Forwards admitted requests to the upstreams, in turn.

    Args:
        runtime: Returns the opened parts.
        trusted_proxies: Peers whose word on the caller is believed.
    """

    def __init__(self, runtime: Callable[[], Runtime], trusted_proxies: tuple[str, ...]) -> None:
        self._runtime = runtime
        self._rules = HeaderRules(trusted_proxies=trusted_proxies)
        self._turn = count()

    async def __call__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        attempt: Attempt,
        request_id: str,
        on_start: OnStart,
        max_body: int,
    ) -> Outcome:
        """Relay one exchange."""
        caller: Cycle | None = scope.get("extensions", {}).get(CALLER)
        forwarded = self._rules.forward(
            scope["headers"],
            caller.head.lines if caller is not None else None,
            peer=scope["client"][0] if scope.get("client") else None,
            scheme=scope["scheme"],
            http_version=scope["http_version"],
        )
        forwarded.lines.extend(b"%b: %b" % field for field in identity_fields(attempt, request_id))
        exchange = Exchange(
            ExchangeRequest(
                method=scope["method"],
                target=scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b""),
                lines=forwarded.lines,
                body_framing=body_framing(scope["headers"], scope["http_version"]),
            ),
            on_start=on_start,
            max_body=max_body,
        )
        upstreams = self._runtime().upstreams
        first = next(self._turn) % len(upstreams)
        return await exchange.run(
            caller if caller is not None else AsgiCaller(receive, send), upstreams[first:] + upstreams[:first]
        )


def identity_fields(attempt: Attempt, request_id: str) -> Headers:
    """Who is calling, for the upstream. Whatever the caller sent under these names has been dropped."""
    account, plan = attempt.account, attempt.plan
    fields: Headers = [
        (b"x-tiergate-decision", attempt.decision_id.encode()),
        (_REQUEST_ID, request_id.encode()),
    ]
    if account is not None and plan is not None:
        fields += [
            (b"x-tiergate-customer", account.customer_id.encode()),
            (b"x-tiergate-user", quote(account.user_id, safe="@:+,=._-/ ").encode()),
            (b"x-tiergate-tier", plan.tier.name.encode()),
            (b"x-tiergate-key", plan.key.key_id.encode()),
        ]
        if plan.access.plan_id is not None:
            fields.append((b"x-tiergate-plan", plan.access.plan_id.encode()))
    return fields
