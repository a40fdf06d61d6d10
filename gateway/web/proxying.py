"""The default forwarder: the reverse proxy. Decides which fields travel, and which servers may answer."""

from __future__ import annotations

from collections.abc import Callable
from os import urandom
from typing import TYPE_CHECKING

from gateway.assertions import ASSERTION_FIELD
from gateway.core.errors import UpstreamUnreachable
from gateway.core.forward_rules import edit_lines, host_name, rewrite_path
from gateway.core.request_gate import body_framing
from gateway.core.trace import SPAN_ID_BYTES, TRACE_FIELDS, TRACE_ID_BYTES, carries_trace, new_traceparent
from gateway.core.upstream_policy import DEFAULT_GROUP
from gateway.upstream import AsgiCaller, Exchange, ExchangeRequest, Group, Outcome
from gateway.web.asgi import Receive, Scope, Send
from gateway.web.front import CALLER, Cycle
from gateway.web.metered import Metered
from gateway.web.runtime import Runtime

if TYPE_CHECKING:
    from gateway.admission import Attempt
    from gateway.web.front.request import HeaderBlock


_TRAILERS = (b"te: trailers", b"connection: te")
"""RFC 9110 sections 6.5.1 and 10.1.4: without it a server need not send trailer fields."""
_IDS_BYTES = TRACE_ID_BYTES + SPAN_ID_BYTES
_RANDOM_BYTES = 170 * _IDS_BYTES


class ReverseProxy:
    """Forwards admitted requests to a group of upstream servers.

    Args:
        runtime: Returns the opened parts.
    """

    def __init__(self, runtime: Callable[[], Runtime]) -> None:
        self._runtime = runtime
        self._random = b""
        self._random_at = 0

    async def __call__(self, metered: Metered, scope: Scope, receive: Receive, send: Send) -> Outcome:
        """Relay one exchange."""
        caller: Cycle | None = scope.get("extensions", {}).get(CALLER)
        block = caller.block if caller is not None else None
        plan = metered.plan
        if plan is None:
            raise AssertionError("only an admitted request is forwarded")
        request, group = self.prepare(metered, scope, block)
        if plan.asks_trailers:
            request.lines += _TRAILERS
            exchange = Exchange(request, on_start=metered.on_start, max_body=plan.max_body, needs_end=metered.needs_end)
        else:
            exchange = Exchange(request, on_start=metered.on_start, max_body=plan.max_body)
        return await exchange.run(caller if caller is not None else AsgiCaller(receive, send), group)

    def prepare(
        self, metered: Metered, scope: Scope, block: HeaderBlock | None = None
    ) -> tuple[ExchangeRequest, Group]:
        """What to ask for an admitted request, and who answers it.

        Args:
            metered: The request.
            scope: Its scope.
            block: Its header fields, if our front has read them.

        Raises:
            UpstreamUnreachable: The group could not be opened; the log says why.
        """
        runtime, attempt, plan = self._runtime(), metered.attempt, metered.plan
        if plan is None or attempt.plan is None or attempt.account is None:
            raise AssertionError("only an admitted request is forwarded")
        headers = scope["headers"]
        forwarded = runtime.rules.forward(
            headers,
            block.lines if block is not None else None,
            peer=scope["client"][0] if scope.get("client") else None,
            scheme=scope["scheme"],
            http_version=scope["http_version"],
            notes=block.notes if block is not None else None,
        )
        group = self._group(runtime, attempt, forwarded.host)
        options = attempt.plan.route.forward
        decision_id = attempt.decision_id.encode()
        lines = [
            *forwarded.lines,
            *plan.fields,
            b"x-tiergate-decision: " + decision_id,
            b"x-request-id: " + (metered.request_id.encode() or decision_id),
        ]
        has_trace = block.has_trace if block is not None else any(name in TRACE_FIELDS for name, _ in headers)
        if not has_trace:
            lines.append(new_traceparent(self._random_ids()))
        elif not carries_trace(headers):
            lines = [line for line in lines if line.partition(b":")[0].lower() not in TRACE_FIELDS]
            lines.append(new_traceparent(self._random_ids()))
        assertion = runtime.assertions.field_for(
            attempt.account,
            attempt.plan,
            attempt.policy,
            attempt.now,
            group=group.name if group.name in attempt.policy.upstreams else None,
        )
        if assertion is not None:
            lines.append(b"%b: %b" % (ASSERTION_FIELD, assertion))
        if options.request_headers:
            lines = edit_lines(lines, options.request_headers)
        target = scope["raw_path"] if options.rewrite is None else rewrite_path(options.rewrite, scope["raw_path"])
        request = ExchangeRequest(
            scope["method"],
            target + (b"?" + scope["query_string"] if scope["query_string"] else b""),
            lines,
            host=(forwarded.host or None) if group.preserves_host else None,
            body_framing=block.framing if block is not None else _framing(scope),
            timeouts=plan.timeouts,
        )
        return request, group

    def _random_ids(self) -> bytes:
        """For a trace and its first span; the system is asked for many at a time."""
        at = self._random_at
        if at >= len(self._random):
            self._random, at = urandom(_RANDOM_BYTES), 0
        self._random_at = at + _IDS_BYTES
        return self._random[at : at + _IDS_BYTES]

    def _group(self, runtime: Runtime, attempt: Attempt, host: bytes) -> Group:
        """Which servers answer.

        Raises:
            UpstreamUnreachable: The group could not be opened; the log says why.
        """
        groups = runtime.groups
        current = runtime.policy.current
        groups.update(current.upstreams)
        name = DEFAULT_GROUP
        if current.upstreams and attempt.route is not None:
            definition = attempt.policy.group_for(attempt.route, host_name(host.decode("latin-1")))
            name = definition.name if definition is not None else DEFAULT_GROUP
        group = groups.find(name)
        if group is None:
            raise UpstreamUnreachable("The servers for this call are not configured as they should be.")
        return group


def _framing(scope: Scope) -> int | None:
    return body_framing(scope["headers"], scope["http_version"])
