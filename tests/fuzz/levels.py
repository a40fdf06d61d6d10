"""What is fuzzed: four ways into the gateway, each with its cases and its judge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.fuzz import answering, asking, paths, sockets
from tests.fuzz.world import World

NAMES = ("paths", "requests", "responses", "sockets")
SHARES = {"paths": 0.1, "requests": 0.35, "responses": 0.25, "sockets": 0.3}
"""Of the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One of the ways in."""

    name: str
    draw: Callable[[Random], Any]
    check: Callable[[Any], Awaitable[str | None]]
    """What is wrong with a case, or None."""
    finish: Callable[[], Awaitable[str | None]] | None = None
    """What is still to be looked at in the end."""


@asynccontextmanager
async def opened(names: tuple[str, ...]) -> AsyncIterator[list[Level]]:
    """The levels of those names, ready."""
    async with AsyncExitStack() as stack:
        levels = []
        if "paths" in names:
            levels.append(Level(name="paths", draw=paths.draw, check=_check_path))
        if "requests" in names or "responses" in names:
            world = stack.enter_context(World())
            if "requests" in names:
                levels.append(Level(name="requests", draw=asking.draw, check=lambda case: asking.check(world, case)))
            if "responses" in names:
                levels.append(
                    Level(name="responses", draw=answering.draw, check=lambda case: answering.check(world, case))
                )
        if "sockets" in names:
            whole = await stack.enter_async_context(sockets.sockets())
            levels.append(Level(name="sockets", draw=sockets.draw, check=whole.check, finish=whole.look_up))
        yield levels


async def _check_path(raw: bytes) -> str | None:
    return paths.check(Random(raw), raw)


async def judge(level: Level, case: Any, patience_s: float = 30.0) -> str | None:
    """What is wrong with a case; an exception is wrong, too."""
    try:
        async with asyncio.timeout(patience_s):
            return await level.check(case)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
        return f"{type(error).__name__}: {error}"


def case_of(level: Level, seed: str, number: int) -> Any:
    """The case that a seed and a number stand for."""
    return level.draw(Random(f"{level.name}:{seed}:{number}"))
