from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.slow


async def test_echo_tells_what_arrived(sandbox: Any) -> None:
    answer = await sandbox.http.post(
        f"{sandbox.running.upstream_url}/v1/echo?a=1&a=2", content=b"hello", headers={"X-One": "two"}
    )
    seen = answer.json()
    assert (seen["method"], seen["path"], seen["query"]) == ("POST", "/v1/echo", "a=1&a=2")
    assert (seen["body"], seen["body_bytes"]) == ("hello", 5)
    assert ["x-one", "two"] in seen["headers"]


async def test_slow_answers_after_its_time(sandbox: Any) -> None:
    started = time.monotonic()
    answer = await sandbox.http.get(f"{sandbox.running.upstream_url}/v1/slow?seconds=0.2")
    assert answer.json() == {"slept_s": 0.2}
    assert time.monotonic() - started >= 0.2


async def test_stream_sends_one_event_each_200_ms(sandbox: Any) -> None:
    times, numbers = [], []
    url = f"{sandbox.running.upstream_url}/v1/stream?n=3"
    async with sandbox.http.stream("GET", url) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                times.append(time.monotonic())
                numbers.append(json.loads(line.removeprefix("data: "))["number"])
    assert numbers == [1, 2, 3]
    assert times[2] - times[0] > 0.3


@pytest.mark.parametrize("status", [204, 404, 429, 503])
async def test_error_answers_with_the_status_asked_for(sandbox: Any, status: int) -> None:
    answer = await sandbox.http.get(f"{sandbox.running.upstream_url}/v1/error?status={status}")
    assert answer.status_code == status


@pytest.mark.parametrize("size", [0, 1, 65_536, 200_000])
async def test_large_is_exactly_as_large_as_asked(sandbox: Any, size: int) -> None:
    answer = await sandbox.http.get(f"{sandbox.running.upstream_url}/v1/large?bytes={size}")
    assert len(answer.content) == size == int(answer.headers["content-length"])


async def test_render_takes_any_path_below_it_and_unknown_paths_are_404(sandbox: Any) -> None:
    url = sandbox.running.upstream_url
    assert (await sandbox.http.get(f"{url}/v1/render/a/b")).json() == {"rendered": "a/b"}
    missing: httpx.Response = await sandbox.http.get(f"{url}/v2/none")
    assert (missing.status_code, missing.json()) == (404, {"error": "no such path: /v2/none"})


@pytest.mark.parametrize("target", ["slow?seconds=x", "slow?seconds=999", "error?status=99", "large?bytes=-1"])
async def test_a_senseless_query_is_400(sandbox: Any, target: str) -> None:
    assert (await sandbox.http.get(f"{sandbox.running.upstream_url}/v1/{target}")).status_code == 400
