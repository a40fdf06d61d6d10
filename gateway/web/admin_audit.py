"""The audit log, for the seller: in pages, newest first, or exported whole."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal

from litestar import get
from litestar.di import NamedDependency, Provide
from litestar.params import FromQuery, QueryParameter, SkipValidation
from litestar.response import Stream

from gateway.core.account import LAST_INSTANT
from gateway.ledger import LAST_POSITION, AuditFilter
from gateway.web.admin_bodies import AuditPage
from gateway.web.audit_export import MEDIA_TYPES, export_audit
from gateway.web.callers import FromRuntime
from gateway.web.paging import Limit, Position
from gateway.web.problem_shape import problems

CustomerId = Annotated[str | None, QueryParameter(pattern="^[0-9A-Za-z]*$", max_length=64)]
_Name = Annotated[str | None, QueryParameter(max_length=200)]
_Instant = Annotated[int | None, QueryParameter(ge=0, le=LAST_INSTANT)]
_After = Annotated[int, QueryParameter(ge=0, le=LAST_POSITION)]


async def provide_filter(
    customer_id: CustomerId = None,
    actor: _Name = None,
    action: _Name = None,
    since: _Instant = None,
    until: _Instant = None,
) -> AuditFilter:
    """Which rows are asked for, for the handlers."""
    return AuditFilter(customer_id=customer_id, actor=actor, action=action, since=since, until=until)


FromFilter = NamedDependency[SkipValidation[AuditFilter]]


@get(
    "/audit",
    dependencies={"which": Provide(provide_filter)},
    responses=problems(400, 401, 403, 404, 409),
    summary="Read the audit log",
)
async def list_audit(runtime: FromRuntime, which: FromFilter, limit: Limit = 100, before: Position = None) -> AuditPage:
    """Who changed what, when and why, and what that did to access. `since` and `until` are Unix seconds."""
    rows = await runtime.ledger.list_audit(limit=limit, before=before, which=which)
    return AuditPage(
        entries=[asdict(row) for row in rows],
        next_before=rows[-1].audit_id if len(rows) == limit else None,
    )


@get(
    "/audit/export",
    dependencies={"which": Provide(provide_filter)},
    responses=problems(400, 401, 403, 404, 409),
    summary="Export the audit log",
)
async def stream_audit(
    runtime: FromRuntime,
    which: FromFilter,
    format: FromQuery[Literal["jsonl", "csv"]] = "jsonl",  # noqa: A002 - as the parameter is called
    after: _After = 0,
) -> Stream:
    """All rows behind `after`, oldest first, up to the newest one now; `Tiergate-Audit-Upto` says which that is.

    The next export goes on from there: `after` that number.
    """
    upto = await runtime.ledger.last_audit_id()
    headers = {"tiergate-audit-upto": str(upto)}
    if format == "csv":
        headers["content-disposition"] = 'attachment; filename="audit.csv"'
    text = export_audit(runtime.ledger, which, format, after=after, upto=upto)
    return Stream(text, media_type=MEDIA_TYPES[format], headers=headers)


HANDLERS = (list_audit, stream_audit)
