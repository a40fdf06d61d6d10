"""Running the simulator and the sample upstream on one event loop, on loopback, until told to stop."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from gateway.sandbox.rules import DeliveryRules
from gateway.sandbox.seed import seed
from gateway.sandbox.simulator import DEFAULT_KEY, Simulator, check_key
from gateway.sandbox.stripe_app import create_stripe
from gateway.sandbox.upstream import upstream_app

_PARENT_CHECK_S = 0.5
_LETTERS = "abcdefghjkmnpqrstuvwxyz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """Where to bind and what to begin with; port 0 takes a free one. `run`: see `World`."""

    host: str = "127.0.0.1"
    stripe_port: int = 0
    upstream_port: int = 0
    clock_file: Path | None = None
    key: str = DEFAULT_KEY
    run: str | None = None
    seeded: bool = False
    delivery_rules: DeliveryRules | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What is running and where."""

    stripe_url: str
    upstream_url: str
    key: str
    simulator: Simulator


def check_host(host: str) -> str:
    """The address to bind.

    Raises:
        ValueError: it can be reached from other machines: a simulator of payments must not be.
    """
    name = "127.0.0.1" if host == "localhost" else host
    try:
        local = ipaddress.ip_address(name).is_loopback
    except ValueError:
        local = False
    if not local:
        raise ValueError(f"the sandbox binds to loopback addresses only, not to {host!r}")
    return name


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio: no delay for TCP only
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


def _url(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@asynccontextmanager
async def _serving(*served: tuple[Any, socket.socket]) -> AsyncIterator[None]:
    """Uvicorn on each socket, without its signal handlers: the program has one stop for all of it."""
    servers = [(_server(app), bound) for app, bound in served]
    for server, bound in servers:
        server.lifespan = server.config.lifespan_class(server.config)
        await server.startup(sockets=[bound])
    loops = [asyncio.create_task(server.main_loop()) for server, _ in servers]
    try:
        yield
    finally:
        for server, _ in servers:
            server.should_exit = True
        await asyncio.gather(*loops)
        await asyncio.gather(*(server.shutdown(sockets=[bound]) for server, bound in servers))


def _server(app: Any) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
        server_header=False,
    )
    config.load()
    return uvicorn.Server(config)


@asynccontextmanager
async def running(listening: Listening) -> AsyncIterator[Running]:
    """Both servers, listening and ready; they stop when the block is left.

    Raises:
        ValueError: the host is not loopback, or the key is not a sandbox key.
        OSError: a port is taken.
    """
    host = check_host(listening.host)
    check_key(listening.key)
    with _bind(host, listening.stripe_port) as stripe, _bind(host, listening.upstream_port) as upstream:
        simulator = Simulator(
            run=listening.run or "".join(secrets.choice(_LETTERS) for _ in range(5)),
            key=listening.key,
            clock_file=listening.clock_file,
            delivery_rules=listening.delivery_rules,
        )
        simulator.world.public_url = _url(stripe)
        if listening.seeded:
            simulator.carry_out(seed)
        try:
            async with _serving((create_stripe(simulator), stripe), (upstream_app, upstream)):
                yield Running(
                    stripe_url=_url(stripe),
                    upstream_url=_url(upstream),
                    key=listening.key,
                    simulator=simulator,
                )
        finally:
            await simulator.aclose()


async def wait_for_end(parent: int, *, at_stdin_end: bool = False) -> None:
    """Return at SIGTERM or SIGINT, or when `parent` is no longer our parent process.

    The caller asks for its parent first thing: one that dies while the servers start is noticed too. With
    `at_stdin_end`, also when stdin ends; never by default, since a stdin that was inherited is not ours to read.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if at_stdin_end:
        _stop_at_stdin_end(loop, stop)
    while not stop.is_set() and os.getppid() == parent:
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _PARENT_CHECK_S)


def _stop_at_stdin_end(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    descriptor = sys.stdin.fileno()
    os.set_blocking(descriptor, False)

    def on_readable() -> None:
        with suppress(BlockingIOError):
            if not os.read(descriptor, 4096):
                loop.remove_reader(descriptor)
                stop.set()

    loop.add_reader(descriptor, on_readable)
