"""The proof of a customer's invoices: JSON for programs, CSV for spreadsheets."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from litestar import Response, get
from litestar.params import FromQuery, QueryParameter

from gateway.core.statement_period import PeriodInvalid, find_span
from gateway.web.callers import FromCaller, FromRuntime, load_named
from gateway.web.problem_shape import problems
from gateway.web.refusals import RequestInvalid
from gateway.web.statement_csv import statement_csv
from gateway.web.statement_view import StatementView
from gateway.web.stating import state

Period = Annotated[str, QueryParameter(max_length=100)]
Form = Annotated[Literal["json", "csv"], QueryParameter()]


@get(
    "/statement",
    responses=problems(400, 401, 403, 404, 429, 502),
    summary="Prove what the invoices ask for",
    tags=["billing"],
)
async def show_statement(
    runtime: FromRuntime,
    caller: FromCaller,
    user_id: FromQuery[str | None] = None,
    customer_id: FromQuery[str | None] = None,
    period: Period = "last",
    format: Form = "json",  # noqa: A002 - as the parameter is called
) -> Response[StatementView]:
    """What was used, reported, counted by Stripe and asked for, per meter and window, and every line of the invoices.

    `period` is `current`, `last`, an instant (`2026-10-14`: the billing period that it is in) or a range
    (`2026-01-01..2026-07-01`, the end not included). Nothing is changed anywhere. While the payment provider does
    not answer, `verdict` is `not-compared`.
    """
    caller.require_manager()
    account = await load_named(runtime, caller, user_id, customer_id)
    now = runtime.clock.now()
    try:
        span = find_span(period, account, now)
    except PeriodInvalid as error:
        raise RequestInvalid(f"period: {error}.", ({"field": "period", "message": f"{error}"},)) from None
    view = await state(account, span, runtime, now=now, for_seller=caller.is_seller)
    return _csv(view) if format == "csv" else Response(view)


def _csv(view: StatementView) -> Response[Any]:
    disposition = f'attachment; filename="statement-{view.from_}-{view.to}.csv"'
    return Response(statement_csv(view), media_type="text/csv", headers={"content-disposition": disposition})


HANDLERS = (show_statement,)
