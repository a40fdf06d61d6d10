"""When a page cannot be shown: errors are pages too."""

from __future__ import annotations

import secrets

import structlog
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap

from gateway.core.errors import BodyTooLarge, Failed, PaymentRequired, TiergateError
from gateway.ledger import LedgerConflict
from gateway.web.callers import AnyRequest
from gateway.web.page_frame import Page, read_session, render
from gateway.web.problem_table import TABLE
from gateway.web.problems import retry_after_s
from gateway.web.refusals import (
    Conflict,
    InternalError,
    MethodNotAllowed,
    NotAuthorized,
    NothingHere,
    RequestInvalid,
)
from gateway.web.runtime import Runtime

log = structlog.get_logger(__name__)

_REFUSALS: dict[int, type[TiergateError]] = {404: NothingHere, 405: MethodNotAllowed, 413: BodyTooLarge}
_SERVER_ERROR = 500


def show_error(request: AnyRequest, error: TiergateError) -> Page:
    """The page of one of our errors."""
    return _error_page(request, error, _new_request_id())


def show_conflict(request: AnyRequest, error: LedgerConflict) -> Page:
    """The page of what the ledger refused."""
    return show_error(request, Conflict(f"{str(error)[:1].upper()}{str(error)[1:]}."))


def show_http_error(request: AnyRequest, error: HTTPException) -> Page:
    """The page of what the router or the decoding of a request refused."""
    if error.status_code >= _SERVER_ERROR:
        return show_crash(request, error)
    refusal = _REFUSALS.get(error.status_code, RequestInvalid)
    return show_error(request, refusal("The address or the form is not one that this page takes."))


def show_crash(request: AnyRequest, error: Exception) -> Page:
    """The page of a defect: the traceback goes to the log, the request id to the customer."""
    request_id = _new_request_id()
    path = str(request.scope.get("path_template") or "-")
    log.error("page crashed", request_id=request_id, method=request.method, path=path, exc_info=error)
    return _error_page(request, InternalError(), request_id)


PAGE_EXCEPTION_HANDLERS: ExceptionHandlersMap = {
    TiergateError: show_error,
    LedgerConflict: show_conflict,
    HTTPException: show_http_error,
    Exception: show_crash,
}


def _error_page(request: AnyRequest, error: TiergateError, request_id: str) -> Page:
    runtime: Runtime = request.app.state.runtime
    kind = TABLE[error.code]
    if isinstance(error, Failed):
        log.warning("page failed", request_id=request_id, code=error.code, method=request.method)
    wait_s = retry_after_s(error)
    return render(
        runtime.settings,
        "problem.html",
        status=kind.status,
        signed_in=read_session(request, runtime) is not None,
        headers={} if wait_s is None else {"retry-after": str(wait_s)},
        title=kind.title,
        detail=str(error),
        wait_s=wait_s,
        code=error.code,
        request_id=request_id,
        is_failure=isinstance(error, Failed),
        payment_url=error.payment_url if isinstance(error, PaymentRequired) else None,
        is_unconfirmed=isinstance(error, PaymentRequired) and error.is_unconfirmed,
        needs_sign_in=isinstance(error, NotAuthorized),
    )


def _new_request_id() -> str:
    return f"req_{secrets.token_hex(8)}"
