"""The app: the metered edge in front of a Litestar app, both of one worker."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from litestar import Litestar

from gateway.app.worker import serving
from gateway.settings import Settings, load_settings
from gateway.telemetry import configure_logging
from gateway.web.asgi import ASGIApp, Receive, Scope, Send
from gateway.web.front import FrontOptions
from gateway.web.inside import InsideApp, lifespan_of
from gateway.web.middleware import Edge, refuse_early
from gateway.web.proxying import ReverseProxy
from gateway.web.reserved import ReservedPaths
from gateway.web.routes import build_litestar
from gateway.web.runtime import Runtime
from gateway.web.websockets import WebSocketEdge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def create_app(settings: Settings | None = None, *, inside: ASGIApp | None = None) -> Litestar:
    """The gateway as an ASGI app: the metered edge in front of a Litestar app.

    `tiergate serve` runs it, and any ASGI server can. uvicorn needs to be told of our front, and to stay out of
    between: `uvicorn --http gateway.web.front:FrontProtocol --no-proxy-headers --factory gateway.app:create_app`.

    Args:
        settings: None reads them from the environment and `.env`.
        inside: An ASGI app to put the gateway in front of, instead of proxying to an upstream.

    Raises:
        SettingsInvalid: With every fault.
    """
    settings = settings if settings is not None else load_settings()
    configure_logging(settings.log_format, settings.log_level)

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            app.state.runtime = opened.runtime = await stack.enter_async_context(
                serving(settings, proxies=inside is None)
            )
            if inside is not None:
                await stack.enter_async_context(lifespan_of(inside))
            yield

    opened = _Opened()
    reserved, proxy = ReservedPaths(settings.billing_prefix), ReverseProxy(lambda: opened.runtime)
    app = build_litestar(settings, lifespan=lifespan)
    app.asgi_handler = edge = Edge(  # type: ignore[assignment]  # a Litestar app stays one: only what it routes to is wrapped
        _routed(app),
        runtime=lambda: opened.runtime,
        reserved=reserved,
        forward=InsideApp(inside, lambda: opened.runtime) if inside is not None else proxy,
        websockets=WebSocketEdge(lambda: opened.runtime, reserved=reserved, proxy=proxy if inside is None else None),
    )
    app.state.front = FrontOptions(
        head_timeout_s=settings.header_timeout_s,
        keep_alive_s=settings.keep_alive_s,
        max_connections=settings.max_connections,
        app=edge,
        refuse=lambda error: refuse_early(opened.runtime, error),
    )
    return app


def _routed(app: Litestar) -> ASGIApp:
    """What Litestar calls its router with, for requests that come to the edge without passing through Litestar."""
    router = app.asgi_handler

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = scope["litestar_app"] = app
        scope.setdefault("state", {})
        await router(scope, receive, send)  # type: ignore[arg-type]  # Litestar's own types of the same things

    return route


class _Opened:
    """Where the edge finds the parts: it looks on every call, and `app.state` takes its time."""

    __slots__ = ("runtime",)
    runtime: Runtime


def protect(app: ASGIApp) -> Litestar:
    """Put the gateway in front of an ASGI app in the same process. Settings come from the environment.

    Source: docs/getting-started.md, "Inside your own app".
    """
    return create_app(inside=app)
