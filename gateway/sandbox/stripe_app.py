"""The Stripe simulator's HTTP side: keys, forms, idempotency, errors; then the endpoints, pages and controls."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
from typing import Any
from urllib.parse import urlsplit

from litestar import Litestar, Request, Response, route
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler

from gateway.sandbox.api import ENDPOINTS, Call, Endpoint
from gateway.sandbox.api.endpoint import look_up
from gateway.sandbox.cards import CardRefused
from gateway.sandbox.control import control_handlers
from gateway.sandbox.delivery.faults import ApiFault
from gateway.sandbox.pages import page_handlers
from gateway.sandbox.records import Json
from gateway.sandbox.rules import API_VERSION
from gateway.sandbox.simulator import Simulator
from gateway.sandbox.wire.broken import BrokenOff
from gateway.sandbox.wire.expand import expand
from gateway.sandbox.wire.form import Tree, parse_form, parse_json
from gateway.sandbox.wire.idempotency import KeptAnswer
from gateway.sandbox.wire.laid_out import laid_out
from gateway.sandbox.wire.params import Spec, Text, Texts, read
from gateway.sandbox.wire.problems import StripeProblem, problem_of, rate_limited, unknown_url
from gateway.sandbox.world import Cause, NoSuchRecord, World

_Request = Request[Any, Any, Any]
_V2 = "/v2/"
_OLDER: Spec = {"expand": Texts()}
_NEWER: Spec = {"page": Text()}
"""What every endpoint of one API takes."""
_LARGEST_BODY = 1_000_000
_RATE_LIMITED = 429
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def create_stripe(simulator: Simulator) -> Litestar:
    """The app: /v1, the hosted pages, and the controls under /_sandbox."""
    return Litestar(
        route_handlers=[
            *(_handler(simulator, endpoint) for endpoint in ENDPOINTS),
            *page_handlers(simulator),
            *control_handlers(simulator),
        ],
        exception_handlers={HTTPException: _http_error},
        before_request=_refuse_foreign_host,
        request_max_body_size=_LARGEST_BODY,
        openapi_config=None,
        logging_config=None,
    )


async def _refuse_foreign_host(request: _Request) -> Response[Json] | None:
    """A web page that points its own name at this machine gets no answer (DNS rebinding)."""
    if urlsplit(f"//{request.headers.get('host', '')}").hostname in _LOOPBACK:
        return None
    return Response({"error": {"message": "The sandbox answers on loopback names only."}}, status_code=421)


def _http_error(request: _Request, error: HTTPException) -> Response[Json]:
    path = request.url.path
    if path.startswith(("/v1", _V2)):
        body = unknown_url(request.method, path).body("req_unknown")
        return Response(body, status_code=error.status_code)
    return Response({"error": error.detail, "extra": error.extra}, status_code=error.status_code)


def _handler(simulator: Simulator, endpoint: Endpoint) -> HTTPRouteHandler:
    path = (
        endpoint.path.replace("{id}", "{id:str}")
        .replace("{method}", "{method:str}")
        .replace("{feature}", "{feature:str}")
    )

    @route(path, http_method=endpoint.method, status_code=200)  # type: ignore[arg-type]  # a verb from our own table
    async def handle(request: _Request) -> Response[bytes]:
        request_id = simulator.new_request_id()
        try:
            status, body, marks = await _answer(simulator, endpoint, request, request_id)
        except ConnectionAbortedError:
            return BrokenOff()
        except StripeProblem as problem:
            status, body, marks = problem.status, laid_out(problem.body(request_id)), {}
        headers = {"Request-Id": request_id, "Stripe-Version": API_VERSION, **marks}
        return Response(body, status_code=status, headers=headers, media_type="application/json")

    return handle


async def _answer(
    simulator: Simulator, endpoint: Endpoint, request: _Request, request_id: str
) -> tuple[int, bytes, dict[str, str]]:
    _authenticate(simulator, request)
    _check_version(request)
    if endpoint.is_search and not simulator.may_search():
        raise rate_limited()
    fault = simulator.take_api_fault(request.method, request.url.path)
    if fault is not None and not fault.after:
        await _suffer(fault)
    tree = await _form(request)
    key = request.headers.get("idempotency-key") if request.method == "POST" else None
    if key is not None:
        kept = simulator.answers.find(key, request.method, request.url.path, tree, int(simulator.now()))
        if kept is not None:
            marks = {"Idempotent-Replayed": "true", "Original-Request": kept.request_id, "Idempotency-Key": key}
            return kept.status, kept.body, marks
    params = read({**endpoint.spec, **(_NEWER if endpoint.path.startswith(_V2) else _OLDER)}, tree)
    cause = Cause(request_id=request_id, idempotency_key=key)
    status, body = _carry_out(simulator, endpoint, request, params, cause)
    if key is not None:
        answer = KeptAnswer(
            method=request.method,
            path=request.url.path,
            params=tree,
            status=status,
            body=body,
            request_id=request_id,
            kept_at=int(simulator.now()),
        )
        simulator.answers.keep(key, answer)
    if fault is not None and fault.after:
        await _suffer(fault)
    return status, body, {} if key is None else {"Idempotency-Key": key}


def _carry_out(
    simulator: Simulator, endpoint: Endpoint, request: _Request, params: dict[str, Any], cause: Cause
) -> tuple[int, bytes]:
    """The act and its answer. A refused card is an answer that is kept, other errors are not."""
    names = request.path_params

    def act(world: World) -> Json:
        shape = endpoint.act(Call(world=world, params=params, names=names))
        return expand(shape, params.get("expand", ()), lambda node, name: look_up(world, node, name))

    try:
        shape = simulator.carry_out(act, cause=cause, keeps_failures=endpoint.keeps_failures)
    except CardRefused as error:
        problem = problem_of(error)
        return problem.status, laid_out(problem.body(cause.request_id))
    except Exception as error:
        raise _named(error, set(names.values())) from error
    return 200, laid_out(shape)


def _named(error: Exception, path_ids: set[str]) -> StripeProblem:
    in_path = isinstance(error, NoSuchRecord) and any(f"'{one}'" in str(error) for one in path_ids)
    return problem_of(error, in_path=in_path)


async def _form(request: _Request) -> Tree:
    raw = await request.body() if request.method == "POST" else request.scope["query_string"]
    try:
        is_json = request.method == "POST" and request.url.path.startswith(_V2)
        return parse_json(raw.decode()) if is_json else parse_form(raw.decode())
    except UnicodeDecodeError:
        raise StripeProblem("The request body is not valid UTF-8.") from None


def _authenticate(simulator: Simulator, request: _Request) -> None:
    """Bearer or basic.

    Raises:
        StripeProblem: 401.
    """
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    key = credentials.strip()
    if scheme.lower() == "basic":
        try:
            key = base64.b64decode(key, validate=True).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            key = ""
    if not key:
        raise StripeProblem("You did not provide an API key.", status=401)
    if key.startswith(("sk_live", "rk_live")):
        message = "A live key was sent to the sandbox. It was not stored; point live keys at Stripe only."
        raise StripeProblem(message, status=401, code="platform_api_key_expired")
    if not hmac.compare_digest(key.encode(), simulator.key.encode()):
        raise StripeProblem(f"Invalid API Key provided: {key[:8]}***", status=401)


def _check_version(request: _Request) -> None:
    version = request.headers.get("stripe-version", API_VERSION)
    if version != API_VERSION:
        raise StripeProblem(f"Invalid Stripe API version: {version}. The sandbox speaks {API_VERSION} only.")


async def _suffer(fault: ApiFault) -> None:
    """Wait, then fail as the fault says.

    Raises:
        ConnectionAbortedError: no whole answer is to be given.
        StripeProblem: the fault has a status.
    """
    await asyncio.sleep(fault.delay_s)
    if fault.cut:
        raise ConnectionAbortedError
    if fault.status == _RATE_LIMITED:
        raise rate_limited()
    if fault.status is not None:
        raise StripeProblem("An injected fault.", status=fault.status, kind="api_error")
