"""The fuzzer for some seconds, always with the same cases, and the proof that it would find something."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from gateway.core import http_body, target
from gateway.upstream import connection
from tests.fuzz.levels import case_of, judge, opened
from tests.fuzz.shrinking import shrink

pytestmark = pytest.mark.slow

CASES = {"paths": 3000, "requests": 700, "responses": 700, "sockets": 150}


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """asyncio's own, whose queue can be looked into."""
    return {"asyncio": asyncio.SelectorEventLoop}


@pytest.mark.usefixtures("any_cache")
@pytest.mark.parametrize("name", CASES)
async def test_nothing_is_found(name):
    async with opened((name,)) as (level,):
        for number in range(CASES[name]):
            case = case_of(level, "smoke", number)
            assert await judge(level, case) is None, f"--level {name} --seed smoke --at {number}: {case}"
        assert level.finish is None or await level.finish() is None


async def _first_finding(name: str, most: int) -> tuple[object, str] | None:
    async with opened((name,)) as (level,):
        for number in range(most):
            case = case_of(level, "smoke", number)
            wrong = await judge(level, case)
            if wrong is not None:
                return await shrink(case, wrong, lambda smaller: judge(level, smaller))
    return None


async def test_a_path_that_is_decoded_twice_would_be_found(monkeypatch):
    monkeypatch.setattr(target, "_has_escape", lambda _plain: False)
    found = await _first_finding("paths", 5000)
    assert found is not None
    assert b"%25" in found[0]


async def test_a_lenient_chunk_size_would_be_found(monkeypatch):
    strict = http_body._parse_chunk_size
    monkeypatch.setattr(http_body, "_parse_chunk_size", lambda line: strict(line.strip(b" \t").replace(b"_", b"")))
    found = await _first_finding("requests", 5000)
    assert found is not None


async def test_a_connection_that_is_used_again_after_surplus_would_be_found(monkeypatch):
    monkeypatch.setattr(connection.Connection, "finish", lambda self: setattr(self, "owner", None) is None)
    found = await _first_finding("responses", 3000)
    assert found is not None
