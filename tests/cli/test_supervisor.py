"""Workers that die, and what happens to their replacements: real gateways of two workers."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import Result

from gateway.clock import write_clock_offset
from tests.cli.conftest import SECRETS
from tests.cli.test_serve import PATIENCE_S, new_key, until
from tests.ledger.conftest import PostgresqlServer, find_binaries
from tests.optional import not_tested
from tests.processes import living

Run = Callable[..., Result]
Serve = Callable[..., Any]

pytestmark = pytest.mark.slow
_ASKS_THE_LEDGER = pytest.mark.not_on(
    "disturbed", because="nobody trusts a new master before the ledger was asked, and here it is away"
)


def started(served: Any) -> list[int]:
    """Process ids of all workers that have served so far, in the order of their start."""
    parsed = [json.loads(line) for line in list(served.lines) if line.startswith("{")]
    said = [re.fullmatch(r"Started server process \[(\d+)\]", event["event"]) for event in parsed]
    pids = [int(match[1]) for match in said if match]
    return [pid for pid in pids if pid != served.process.pid]


def ready(served: Any) -> int:
    """How many workers have come to serve so far."""
    return len([line for line in list(served.lines) if "Application startup complete" in line])


def kill(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    until(lambda: not living(set(pids)), lambda: f"{pids} live")


def ask(served: Any, what: str) -> httpx.Response:
    """An operator's look at a running gateway."""
    token = {"authorization": f"Bearer {SECRETS['TIERGATE_ADMIN_TOKEN']}"}
    return httpx.get(f"{served.url}/_tiergate/{what}", headers=token, timeout=PATIENCE_S)


def checks(served: Any) -> dict[str, Any]:
    return {check["name"]: check for check in ask(served, "ready").json()["checks"]}


def break_policy(policies: Path) -> str:
    file = policies / "tiergate.yaml"
    good = file.read_text()
    file.write_text(good.replace("tier: pro\n", "tier: prro\n"))
    return good


def test_a_worker_that_dies_while_the_policy_on_disk_is_refused_is_replaced_under_the_one_that_runs(
    serve: Serve, tiergate: Run, policies: Path
) -> None:
    served = serve("--workers", "2")
    served.wait_for("gateway serves")
    key = new_key(tiergate)["key"]
    file = policies / "tiergate.yaml"
    file.write_text(file.read_text().replace("100 requests per billing period", "7 requests per billing period"))
    served.wait_for("policy reloaded", 2)
    running = served.events("policy reloaded")[0]["running"]
    good = break_policy(policies)
    served.wait_for("policy refused", 2)
    kill(*started(served))  # both, so that whoever answers is a replacement
    until(lambda: ready(served) == 4, served.log)
    assert served.call(key).status_code == 200
    assert checks(served)["policy"]["detail"].startswith(f"running {running}")
    served.wait_for("policy refused", 4)
    assert "the newest edit was refused" in checks(served)["policy"]["detail"]
    file.write_text(good.replace("7 requests per billing period", "8 requests per billing period"))
    served.wait_for("policy reloaded", 4)
    assert served.stop() == 0


@_ASKS_THE_LEDGER
def test_a_worker_that_dies_while_the_ledger_is_away_is_replaced_and_serves_whom_the_cache_knows(
    serve: Serve, tiergate: Run, tmp_path: Path
) -> None:
    served = serve("--workers", "2")
    served.wait_for("gateway serves")
    key, unknown = new_key(tiergate)["key"], new_key(tiergate, "bob")["key"]
    assert served.call(key).status_code == 200
    ledger = tmp_path / "data of the test" / "ledger.sqlite3"
    ledger.rename(tmp_path / "away")
    ledger.mkdir()  # a file in its place could be opened, or made anew
    kill(*started(served))
    until(lambda: ready(served) == 4, served.log)
    assert [served.call(key).status_code for _ in range(4)] == [200] * 4, served.log()
    assert not checks(served)["ledger"]["ok"]
    ledger.rmdir()
    (tmp_path / "away").rename(ledger)
    until(lambda: checks(served)["migrations"]["ok"], served.log)
    assert served.call(unknown).status_code == 200
    assert served.stop() == 0


@_ASKS_THE_LEDGER
@pytest.mark.postgres
def test_postgresql_that_stops_does_not_stop_the_gateway(
    serve: Serve, environment: dict[str, str], tiergate: Run
) -> None:
    binaries = find_binaries()
    if binaries is None:
        not_tested("on PostgreSQL", "no server is installed")
    server = PostgresqlServer(binaries)
    try:
        environment["TIERGATE_LEDGER_URL"] = server.url("postgres")
        served = serve("--workers", "2")
        served.wait_for("gateway serves")
        key = new_key(tiergate)["key"]
        assert served.call(key).status_code == 200
    finally:
        server.stop()
    kill(started(served)[0])
    until(lambda: ready(served) == 3, served.log)
    assert {served.call(key).status_code for _ in range(6)} == {200}
    assert served.process.poll() is None


@pytest.fixture
def clock(tmp_path: Path) -> Path:
    """A clock of the sandbox: without it, a worker that is started fails, and one that runs does not care."""
    write_clock_offset(tmp_path / "clock", 0.0)
    return tmp_path / "clock"


def test_a_replacement_that_cannot_start_is_tried_again_while_the_others_serve(
    serve: Serve, tiergate: Run, clock: Path
) -> None:
    served = serve("--workers", "2", TIERGATE_SIMULATED_CLOCK=str(clock))
    served.wait_for("gateway serves")
    key = new_key(tiergate)["key"]
    clock.unlink()
    kill(started(served)[0])
    served.wait_for("a worker could not start; it is tried again", 2)
    pauses = [event["pause_s"] for event in served.events("a worker could not start; it is tried again")]
    assert pauses[:2] == [1.0, 2.0]
    assert served.call(key).status_code == 200
    write_clock_offset(clock, 0.0)
    until(lambda: ready(served) == 3, served.log)
    assert served.stop() == 0


def test_a_gateway_that_no_worker_can_serve_any_more_ends_with_code_1(
    serve: Serve, clock: Path, tmp_path: Path
) -> None:
    served = serve("--workers", "2", TIERGATE_SIMULATED_CLOCK=str(clock))
    served.wait_for("gateway serves")
    clock.unlink()
    kill(*started(served))
    assert served.process.wait(300) == 1  # half a minute of pauses, and six starts
    assert served.events("no worker is left, and none can start; the gateway stops")
    assert list((tmp_path / "data of the test" / "runs").iterdir()) == []


def counted(served: Any) -> float:
    text = ask(served, "metrics").text
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("tiergate_decisions_total{"))


def run_directories(tmp_path: Path) -> list[Path]:
    return sorted(path for path in (tmp_path / "data of the test" / "runs").iterdir() if path.is_dir())


def test_two_gateways_of_one_data_directory_keep_their_metrics_apart(
    serve: Serve, tiergate: Run, tmp_path: Path
) -> None:
    first = serve("--workers", "2")
    first.wait_for("gateway serves")
    key = new_key(tiergate)["key"]
    assert {first.call(key).status_code for _ in range(4)} == {200}
    second = serve("--workers", "2")
    second.wait_for("gateway serves")
    assert second.call(key).status_code == 200
    until(lambda: (counted(first), counted(second)) == (4, 1), first.log)
    assert second.stop() == 0
    assert counted(first) == 4
    kill(*started(first))
    until(lambda: ready(first) == 4, first.log)
    assert {first.call(key).status_code for _ in range(2)} == {200}
    until(lambda: counted(first) == 6, first.log)
    assert first.stop() == 0
    assert run_directories(tmp_path) == []


def test_what_dead_workers_counted_stays_counted_in_one_file(serve: Serve, tiergate: Run, tmp_path: Path) -> None:
    served = serve("--workers", "2")
    served.wait_for("gateway serves")
    key = new_key(tiergate)["key"]
    for times in (1, 2, 3):
        assert served.call(key).status_code == 200
        until(lambda times=times: counted(served) == times, served.log)  # a second's calls die with a worker
        kill(*started(served)[-2:])
        until(lambda times=times: ready(served) == 2 + 2 * times, served.log)
    assert counted(served) == 3
    [directory] = run_directories(tmp_path)
    dead = set(map(str, started(served)[:-2]))
    assert not [file for file in directory.glob("*.db") if file.stem.rpartition("_")[2] in dead]


def test_a_worker_that_is_told_to_stop_leaves_all_that_it_counted(serve: Serve, tiergate: Run) -> None:
    served = serve("--workers", "2")
    served.wait_for("gateway serves")
    key = new_key(tiergate)["key"]
    assert {served.call(key).status_code for _ in range(5)} == {200}
    for pid in started(served)[-2:]:
        os.kill(pid, signal.SIGTERM)
    until(lambda: ready(served) == 4, served.log)
    assert counted(served) == 5


def test_what_a_killed_gateway_left_is_removed_by_the_next(serve: Serve, tmp_path: Path) -> None:
    first = serve("--workers", "2")
    first.wait_for("gateway serves")
    [left] = run_directories(tmp_path)
    first.stop(signal.SIGKILL)
    assert left.exists()
    second = serve("--workers", "2")
    second.wait_for("gateway serves")
    [fresh] = run_directories(tmp_path)
    assert fresh != left
