"""Errors of our own routes become problem documents here, whatever raised them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from traceback import walk_tb
from typing import Any

import structlog
from litestar import Response
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap

from gateway.core.errors import BodyTooLarge, Failed, TiergateError
from gateway.ledger import CustomerUnknown, LedgerConflict, UserExists
from gateway.web.callers import AnyRequest
from gateway.web.page_errors import show_error
from gateway.web.problems import problem_response
from gateway.web.refusals import (
    Conflict,
    CustomerNotFound,
    InternalError,
    MethodNotAllowed,
    NothingHere,
    RequestInvalid,
    UserTaken,
)
from gateway.web.reserved import OPERATIONS

log = structlog.get_logger(__name__)

_NOT_FOUND = 404
_METHOD_NOT_ALLOWED = 405
_TOO_LARGE = 413
_SERVER_ERROR = 500
_LONGEST_MESSAGE = 300
"""Characters of what is said of one field: it may repeat what was sent."""
_PACKAGE = __name__.partition(".")[0]
_SET_BY_RESPONSE = frozenset({"content-type", "content-length"})


def answer_error(request: AnyRequest, error: TiergateError) -> Response[Any]:
    """The problem document of one of our errors; the page of it for a person who looked for a page."""
    if isinstance(error, NothingHere) and _wants_page(request):
        page = show_error(request, error)
        page.headers["vary"] = "accept"
        return page
    return problem(request, error)


def answer_conflict(request: AnyRequest, error: LedgerConflict) -> Response[bytes]:
    """The problem document of what the ledger refused."""
    if isinstance(error, UserExists):
        return problem(request, UserTaken("Another customer has this user_id."))
    if isinstance(error, CustomerUnknown):
        return problem(request, CustomerNotFound())
    return problem(request, Conflict(f"{str(error)[:1].upper()}{str(error)[1:]}."))


def answer_http(request: AnyRequest, error: HTTPException) -> Response[Any]:
    """The problem document of what the router or the decoding of a request refused."""
    if error.status_code == _NOT_FOUND:
        return answer_error(request, NothingHere("There is nothing at this address."))
    if error.status_code == _METHOD_NOT_ALLOWED:
        refusal = MethodNotAllowed(f"{request.method} is not possible here.")
        return problem(request, refusal, headers=error.headers)
    if error.status_code == _TOO_LARGE:
        return problem(request, BodyTooLarge("The body is larger than this route takes."))
    if error.status_code >= _SERVER_ERROR:
        return answer_crash(request, error)
    return problem(request, RequestInvalid(_sentence(error.detail), _field_errors(error.extra)))


def answer_crash(request: AnyRequest, error: Exception) -> Response[bytes]:
    """The problem document of a defect: the traceback goes to the log, the request id to the caller."""
    if _is_of_the_body(error):
        return problem(request, RequestInvalid("The body is not JSON in UTF-8, or is nested too deep."))
    request_id = _new_request_id()
    log.error("request crashed", request_id=request_id, method=request.method, path=_route(request), exc_info=error)
    return problem(request, InternalError(), request_id=request_id)


EXCEPTION_HANDLERS: ExceptionHandlersMap = {
    TiergateError: answer_error,
    LedgerConflict: answer_conflict,
    HTTPException: answer_http,
    Exception: answer_crash,
}


def problem(
    request: AnyRequest,
    error: TiergateError,
    *,
    headers: Mapping[str, str] | None = None,
    request_id: str | None = None,
) -> Response[bytes]:
    """A response with the problem document of `error`."""
    if request_id is None:
        request_id = _new_request_id()
        if isinstance(error, Failed):
            log.warning(
                "request failed", request_id=request_id, code=error.code, method=request.method, path=_route(request)
            )
    status, fields, body = problem_response(error, request.app.state.runtime.site, request_id=request_id)
    sent = {name.decode(): value.decode() for name, value in fields if name.decode() not in _SET_BY_RESPONSE}
    for name, value in (headers or {}).items():
        sent[name.lower()] = value
    return Response(content=body, status_code=status, headers=sent, media_type="application/problem+json")


def _is_of_the_body(error: Exception) -> bool:
    """The decoder of bodies lets these pass as they are, before code of ours has run; elsewhere they are defects."""
    if not isinstance(error, UnicodeDecodeError | RecursionError):
        return False
    modules = (str(frame.f_globals.get("__name__", "")) for frame, _ in walk_tb(error.__traceback__))
    return not any(name.partition(".")[0] == _PACKAGE for name in modules)


def _wants_page(request: AnyRequest) -> bool:
    """Whether a browser shows the answer to somebody: there are no pages but ours, under `/_tiergate`."""
    is_ours = request.url.path.startswith(f"{OPERATIONS}/")
    return is_ours and request.method in {"GET", "HEAD"} and "text/html" in request.headers.get("accept", "")


def _new_request_id() -> str:
    return f"req_{secrets.token_hex(8)}"


def _route(request: AnyRequest) -> str:
    """The path template, so that no id and no text of a caller's choice is logged."""
    return str(request.scope.get("path_template") or "-")


def _sentence(detail: str) -> str:
    text = detail.partition(" for POST ")[0].strip() or "The request is not valid"
    return text if text.endswith(".") else f"{text}."


def _field_errors(extra: Any) -> tuple[dict[str, str], ...]:
    """What Litestar says about single fields, as plain values. `from_` is how Python has to spell `from`."""
    if not isinstance(extra, list):
        return ()
    return tuple(
        {"field": str(one.get("key", "")).rstrip("_"), "message": str(one.get("message", ""))[:_LONGEST_MESSAGE]}
        for one in extra
        if isinstance(one, dict)
    )
