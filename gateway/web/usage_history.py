"""What a customer used, hour by hour or day by day: JSON for programs, CSV for spreadsheets."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency, Provide
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIType, Operation, Schema
from litestar.params import FromQuery, QueryParameter, SkipValidation

from gateway.core.account import LAST_INSTANT, Account
from gateway.ledger import DAY_S, HOUR_S, HistoryRow
from gateway.web.callers import AnyRequest, FromCaller, FromRuntime, load_named
from gateway.web.csv_text import csv_text
from gateway.web.look_back_turns import look_back, take_look_back_turn
from gateway.web.problem_shape import problems
from gateway.web.refusals import RequestInvalid

_STEPS = {"day": DAY_S, "hour": HOUR_S}
_SHOWN = {"day": 30, "hour": 48}
"""Steps that are shown if nobody says from when."""
_COLUMNS = ("starts_at", "meter", "key_id", "route", "requests", "denied", "units")
_INSTANT = r"^((19[7-9][0-9]|2[0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])|[0-9]{1,11})$"

Instant = Annotated[str | None, QueryParameter(pattern=_INSTANT)]
From = Annotated[str | None, QueryParameter(name="from", pattern=_INSTANT)]
Group = Annotated[str, QueryParameter(pattern="^(meter|key|route)(,(meter|key|route))*$")]
Form = Annotated[Literal["json", "csv"] | None, QueryParameter()]
Cursor = Annotated[str | None, QueryParameter(max_length=2000)]
Limit = Annotated[int, QueryParameter(ge=1, le=5000)]


class HistoryLine(msgspec.Struct, kw_only=True):
    """One hour or day (UTC) of one meter. What was not used has no line."""

    starts_at: int
    """Unix seconds."""
    meter: str
    """Units of two meters are never added up. A call that costs two meters is in the lines of both."""
    key_id: str | None
    """Null: of all keys together, unless `group` names them."""
    route: str | None
    """As policy writes it. Null: of all routes together, unless `group` names them."""
    requests: int
    """Calls that were let through."""
    denied: int
    """Calls that a limit refused."""
    units: int
    """Charged, less what was given back."""


class HistoryPage(msgspec.Struct, kw_only=True):
    """Lines of `[from, to)`, oldest first; some seconds behind. `next_after` goes on in `after`; null: that is all."""

    customer_id: str
    user_id: str
    by: str
    from_: int = msgspec.field(name="from")
    to: int
    lines: list[HistoryLine]
    next_after: str | None


@dataclass
class _InCsvToo(Operation):
    """Says that the answer can be had as CSV."""

    def __post_init__(self) -> None:
        answers: dict[str, Any] = dict(self.responses or {})
        content = getattr(answers.get("200"), "content", None)
        if content is not None:
            content["text/csv"] = OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING))


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """From when to when, in whole steps."""

    by: Literal["hour", "day"]
    from_at: int
    to_at: int
    parts: frozenset[str]
    """What is told apart."""


async def provide_span(
    runtime: FromRuntime,
    from_: From = None,
    to: Instant = None,
    by: FromQuery[Literal["day", "hour"]] = "day",
    group: Group = "meter",
) -> Span:
    """What is asked for, for the handler.

    Raises:
        RequestInvalid: With the option at fault.
    """
    step, now = _STEPS[by], int(runtime.clock.now())
    to_at = now + 1 if to is None else _instant("to", to)
    to_at += -to_at % step
    from_at = to_at - _SHOWN[by] * step if from_ is None else _instant("from", from_)
    from_at = max(0, from_at - from_at % step)
    if from_at >= to_at:
        raise _invalid("from", "it must lie before 'to'")
    kept_days = runtime.settings.usage_hours_kept_days
    if by == "hour" and from_at < now // DAY_S * DAY_S - kept_days * DAY_S:
        raise _invalid("from", f"hours are kept for {kept_days} days; ask with by=day, or for later ones")
    return Span(by=by, from_at=from_at, to_at=to_at, parts=frozenset(group.split(",")))


async def provide_account(
    runtime: FromRuntime,
    caller: FromCaller,
    user_id: FromQuery[str | None] = None,
    customer_id: FromQuery[str | None] = None,
) -> Account:
    """Whose history it is, for the handler. Raises as `load_named`."""
    return await load_named(runtime, caller, user_id, customer_id)


@get(
    "/usage/history",
    dependencies={"span": Provide(provide_span), "account": Provide(provide_account)},
    responses=problems(400, 401, 403, 404, 429),
    operation_class=_InCsvToo,
    summary="Look back at what was used",
    tags=["usage"],
)
async def show_history(  # noqa: PLR0917 - given by name
    request: AnyRequest,
    runtime: FromRuntime,
    caller: FromCaller,
    account: NamedDependency[SkipValidation[Account]],
    span: NamedDependency[SkipValidation[Span]],
    format: Form = None,  # noqa: A002 - as the parameter is called
    limit: Limit = 500,
    after: Cursor = None,
) -> Response[HistoryPage]:
    """Requests, refusals and billable units per hour or day, with `group` also per key and route.

    `from` and `to` are dates (`2026-03-01`, UTC) or Unix seconds; both are widened to whole hours or days, and what
    begins at `to` is not included. Without them: the last 30 days, or 48 hours. CSV with `format=csv` or
    `Accept: text/csv`. For looking back only: a gateway that was killed has not written its last seconds. Asking
    costs nothing; a customer may ask 60 times a minute, and twice at once (429).
    """
    if caller.account is not None:
        await take_look_back_turn(runtime, account.customer_id)
    rows = await look_back(
        runtime,
        account.customer_id,
        from_at=span.from_at,
        to_at=span.to_at,
        by=span.by,
        per_key="key" in span.parts,
        per_route="route" in span.parts,
        after=None if after is None else _read_cursor(after),
        limit=limit + 1,
    )
    next_after = _cursor(rows[limit - 1]) if len(rows) > limit else None
    rows = rows[:limit]
    headers = {"vary": "Accept"}
    if next_after is not None:
        query = [(name, value) for name, value in request.query_params.multi_items() if name != "after"]
        headers["link"] = f'<?{urlencode([*query, ("after", next_after)])}>; rel="next"'
    if (format or _preferred(request)) == "csv":
        return _csv(rows, span, headers)
    page = HistoryPage(
        customer_id=account.customer_id,
        user_id=account.user_id,
        by=span.by,
        from_=span.from_at,
        to=span.to_at,
        lines=[_line(row) for row in rows],
        next_after=next_after,
    )
    return Response(page, headers=headers)


def _preferred(request: AnyRequest) -> str:
    best = request.accept.best_match(["application/json", "text/csv"])
    return "csv" if best == "text/csv" else "json"


def _line(row: HistoryRow) -> HistoryLine:
    return HistoryLine(
        starts_at=row.starts_at,
        meter=row.meter,
        key_id=row.key_id,
        route=row.route,
        requests=row.requests,
        denied=row.denied,
        units=row.units,
    )


def _csv(rows: list[HistoryRow], span: Span, headers: dict[str, str]) -> Response[Any]:
    """A file to keep: its instants are readable (ISO 8601, UTC)."""
    text = csv_text(
        _COLUMNS,
        ((_iso(row.starts_at), *(getattr(row, name) for name in _COLUMNS[1:])) for row in rows),
    )
    name = f"usage-{_iso(span.from_at)[:10]}-{_iso(span.to_at)[:10]}.csv"
    return Response(
        text,
        media_type="text/csv",
        headers={**headers, "content-disposition": f'attachment; filename="{name}"'},
    )


def _iso(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _instant(name: str, text: str) -> int:
    if text.isdigit():
        return int(text)
    try:
        return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise _invalid(name, f"there is no day {text!r}; write it like 2026-03-01, or Unix seconds") from None


def _cursor(row: HistoryRow) -> str:
    """Where the next page continues."""
    place = [row.starts_at, row.meter, row.key_id or "", row.route or ""]
    return urlsafe_b64encode(json.dumps(place, separators=(",", ":")).encode()).decode().rstrip("=")


def _read_cursor(text: str) -> tuple[int, str, str, str]:
    try:
        place = msgspec.json.decode(urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=tuple[int, str, str, str])
    except (ValueError, msgspec.DecodeError):
        place = None
    if place is None or not 0 <= place[0] <= LAST_INSTANT or any("\0" in part for part in place[1:]):
        raise _invalid("after", "it is not what a page gave as next_after")
    return place


def _invalid(name: str, message: str) -> RequestInvalid:
    return RequestInvalid(f"{name}: {message}.", ({"field": name, "message": message},))


HANDLERS = (show_history,)
