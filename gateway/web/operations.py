"""What operators and customers ask about a running gateway: under /_tiergate."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Response, get
from litestar.openapi import ResponseSpec
from litestar.params import FromPath

import gateway
from gateway.explaining import FLUSH_S, Decision
from gateway.web.callers import AnyRequest, Caller, FromCaller, FromRuntime
from gateway.web.credentials import PUBLIC, WITH_TOKEN
from gateway.web.health import Readiness as Checked
from gateway.web.health import check_readiness
from gateway.web.page_frame import render
from gateway.web.problem_shape import problems
from gateway.web.problem_table import TABLE
from gateway.web.refusals import DecisionNotFound, NotAllowed, NotAuthorized, NothingHere

_METRICS_TYPE = "text/plain; version=0.0.4"
"""The rest of the content type, its charset, is Litestar's to add."""
_RETRY_S = "2"
_VARIES = {"vary": "Accept"}
_ADMITTED = "The call was let through."


class Health(msgspec.Struct, kw_only=True):
    """The process answers."""

    status: str
    version: str


class CheckView(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One part that serving needs. `detail` and `fix` are for the admin token."""

    name: str
    ok: bool
    detail: str = ""
    fix: str = ""


class Readiness(msgspec.Struct, kw_only=True):
    """`ready`; `degraded`: calls are served, and something else is missing; or `not-ready`: calls are refused."""

    status: str
    checks: list[CheckView]


class ErrorKind(msgspec.Struct, kw_only=True):
    """What a problem code means."""

    code: str
    status: int
    title: str
    advice: str


@get("/health", security=PUBLIC, summary="Is the process alive", tags=["operations"])
async def health() -> Health:
    """Always 200 while the process answers; use `ready` to decide whether to send requests here."""
    return Health(status="ok", version=gateway.__version__)


@get(
    "/ready",
    security=[*PUBLIC, *WITH_TOKEN],
    responses={**problems(400, 401, 403), 503: ResponseSpec(Readiness, description="Calls are refused")},
    summary="Can requests be served",
    tags=["operations"],
)
async def ready(runtime: FromRuntime, caller: FromCaller) -> Response[Readiness]:
    """503 if calls are refused here: without the cache, unless policy lets some go on. Else 200, perhaps `degraded`."""
    readiness = await check_readiness(runtime)
    is_told_all = caller.role == "admin"
    view = Readiness(
        status=_status(readiness),
        checks=[
            CheckView(name=check.name, ok=check.ok, detail=check.detail, fix=check.fix)
            if is_told_all
            else CheckView(name=check.name, ok=check.ok)
            for check in readiness.checks
        ],
    )
    if readiness.is_ready:
        return Response(view)
    return Response(view, status_code=503, headers={"retry-after": _RETRY_S})


@get(
    "/metrics",
    security=WITH_TOKEN,
    responses=problems(400, 401, 403),
    summary="Prometheus metrics",
    tags=["operations"],
    media_type="text/plain",
)
async def metrics(runtime: FromRuntime, caller: FromCaller) -> Response[bytes]:
    """For the admin token. That a caller is on this machine says nothing: any proxy here is, whoever it speaks for."""
    if caller.role == "anonymous":
        raise NotAuthorized("Metrics need the admin token.")
    if caller.role != "admin":
        raise NotAllowed("Metrics need the admin token.")
    return Response(runtime.metrics.render(), media_type=_METRICS_TYPE)


@get(
    "/why/{decision_id:str}", responses=problems(400, 401, 403, 404), summary="Explain a decision", tags=["operations"]
)
async def why(decision_id: FromPath[str], runtime: FromRuntime, caller: FromCaller) -> dict[str, Any]:
    """Why a recent request was let through or refused: the seller sees all, a customer its own."""
    if caller.role == "anonymous":
        raise NotAuthorized("Send the API key that made the call, or the admin token.")
    if caller.role == "server":
        raise NotAllowed("This needs the admin token or the customer's own key.")
    decision = await runtime.decisions.find(decision_id, patience_s=2 * FLUSH_S)
    if decision is None or not _may_see(caller, decision):
        raise DecisionNotFound("There is no recent decision with this id.")
    kind = TABLE.get(decision.verdict)
    explanation = {"title": kind.title, "advice": kind.advice} if kind is not None else {"title": _ADMITTED}
    return {**msgspec.to_builtins(decision), **explanation}


@get(
    "/errors",
    security=PUBLIC,
    summary="List the problem codes",
    tags=["operations"],
    responses={200: ResponseSpec(list[ErrorKind])},
)
async def list_errors(request: AnyRequest, runtime: FromRuntime) -> Response[Any]:
    """Every `code` a problem document can have."""
    kinds = [_kind(code) for code in sorted(TABLE)]
    if _wants_page(request):
        return _page(runtime, "errors.html", kinds=kinds)
    return Response(kinds, headers=_VARIES)


@get(
    "/errors/{code:str}",
    security=PUBLIC,
    summary="Explain a problem code",
    tags=["operations"],
    responses={200: ResponseSpec(ErrorKind), **problems(400, 404)},
)
async def show_error(request: AnyRequest, runtime: FromRuntime, code: FromPath[str]) -> Response[Any]:
    """What a `code` means and what to do; the `type` of each problem document leads here."""
    if code not in TABLE:
        raise NothingHere("There is no such problem code.")
    kind = _kind(code)
    if _wants_page(request):
        return _page(runtime, "error.html", kind=kind)
    return Response(kind, headers=_VARIES)


def _status(readiness: Checked) -> str:
    if not readiness.is_ready:
        return "not-ready"
    return "degraded" if readiness.is_degraded else "ready"


def _may_see(caller: Caller, decision: Decision) -> bool:
    if caller.role == "admin":
        return True
    return caller.account is not None and decision.customer_id == caller.account.customer_id


def _kind(code: str) -> ErrorKind:
    kind = TABLE[code]
    return ErrorKind(code=code, status=kind.status, title=kind.title, advice=kind.advice)


def _page(runtime: FromRuntime, template: str, **values: Any) -> Response[Any]:
    return render(runtime.settings, template, status=200, signed_in=False, headers=_VARIES, **values)


def _wants_page(request: AnyRequest) -> bool:
    return "text/html" in request.headers.get("accept", "")


HANDLERS = (health, ready, metrics, why, list_errors, show_error)
