"""Real gateways in processes of their own, on free ports, with a real API behind them."""

from __future__ import annotations

import asyncio
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import Result

from gateway.cli.listening import listen
from gateway.ledger import Ledger
from tests.fakes.raw_caller import listens
from tests.processes import descendants, living, program, working_in

Run = Callable[..., Result]
Serve = Callable[..., Any]
PATIENCE_S = 150.0

pytestmark = pytest.mark.slow


def new_key(run: Run, user_id: str = "ada") -> dict[str, str]:
    run("customers", "create", "--user-id", user_id)
    result = run("keys", "issue", "--user-id", user_id, "--json")
    assert result.exit_code == 0, result.output
    issued: dict[str, str] = json.loads(result.stdout)
    return issued


def until(holds: Callable[[], object], explain: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.05)


def slow_call(served: Any, key: str, wait_s: float, api: Any) -> tuple[threading.Thread, list[Any]]:
    """A call that the API behind the gateway is working on when this returns."""
    seen: list[Any] = []

    def call() -> None:
        try:
            seen.append(served.call(key, f"/v1/echo?wait={wait_s}").status_code)
        except httpx.HTTPError as error:
            seen.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    assert api.waiting.wait(PATIENCE_S)
    return thread, seen


@pytest.mark.slow
def test_one_worker_serves_in_the_process_itself_and_drains_on_sigterm(
    serve: Serve, tiergate: Run, api: http.server.ThreadingHTTPServer
) -> None:
    served = serve()
    told = served.wait_for("gateway serves")
    assert told["pid"] == served.process.pid
    key = new_key(tiergate)["key"]
    assert served.call(key).json() == {"from": "upstream"}
    thread, seen = slow_call(served, key, 1.5, api)
    assert served.stop() == 0
    thread.join()
    assert seen == [200]


@pytest.mark.slow
def test_two_workers_share_one_socket_which_closes_while_they_drain(
    serve: Serve, tiergate: Run, api: http.server.ThreadingHTTPServer
) -> None:
    served = serve("--workers", "2")
    assert served.wait_for("gateway serves")["workers"] == 2
    key, url = new_key(tiergate)["key"], httpx.URL(served.url)
    assert {served.call(key).status_code for _ in range(10)} == {200}
    family = descendants(served.process.pid)
    thread, seen = slow_call(served, key, 8, api)
    served.process.send_signal(signal.SIGTERM)

    def is_refused() -> bool:
        try:
            socket.create_connection((url.host, url.port), timeout=1).close()
        except ConnectionRefusedError:
            return True
        return False

    until(is_refused, served.log)
    assert thread.is_alive()
    thread.join()
    assert seen == [200]
    assert served.process.wait(PATIENCE_S) == 0
    until(lambda: not living(family), lambda: f"{living(family)} live")  # multiprocessing's own helper ends last


def new_key_when_ready(served: Any, run: Run) -> str:
    served.wait_for("gateway serves")
    return new_key(run)["key"]


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.slow
def test_a_second_sigint_ends_the_draining(
    serve: Serve, tiergate: Run, api: http.server.ThreadingHTTPServer, processes: int
) -> None:
    served = serve("--workers", str(processes))
    key = new_key_when_ready(served, tiergate)
    thread, seen = slow_call(served, key, 15, api)
    served.process.send_signal(signal.SIGINT)
    until(lambda: not listens(served.url), served.log)
    time.sleep(1)
    assert served.process.poll() is None
    assert served.stop(signal.SIGINT) == 1
    thread.join()
    assert seen != [200], "it took its 15 seconds"


@pytest.mark.slow
def test_sighup_makes_every_worker_reload_its_policy_and_restarts_none(serve: Serve, policies: Path) -> None:
    served = serve("--workers", "2")
    served.wait_for("gateway serves")
    family = descendants(served.process.pid)
    file = policies / "tiergate.yaml"
    good = file.read_text()
    file.write_text(good.replace("tier: pro\n", "tier: prro\n"))
    served.wait_for("policy refused", 2)  # by the watch of each worker, which says so once
    served.process.send_signal(signal.SIGHUP)
    served.wait_for("policy refused", 4)
    file.write_text(good.replace("100 requests per billing period", "7 requests per billing period"))
    served.process.send_signal(signal.SIGHUP)
    served.wait_for("policy reloaded", 2)
    assert len(served.events("policy refused")) == 4
    assert descendants(served.process.pid) == family


@pytest.mark.not_on("cluster", because="is about the embedded server")
@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_sigkill_leaves_no_process_behind(serve: Serve, processes: int, tmp_path: Path) -> None:
    served = serve("--workers", str(processes))
    served.wait_for("gateway serves")
    assert len(working_in(tmp_path)) > processes  # the cache server, its guardian, and the workers
    served.stop(signal.SIGKILL)
    until(lambda: not working_in(tmp_path), lambda: f"{working_in(tmp_path)}\n{served.log()}")


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced(serve: Serve, tiergate: Run) -> None:
    served = serve("--workers", "2")
    key = new_key_when_ready(served, tiergate)
    victims = {int(event["event"].rpartition("[")[2][:-1]) for event in started_workers(served)}
    assert len(victims) == 2
    os.kill(victims.pop(), signal.SIGKILL)
    until(lambda: len(started_workers(served)) == 3, served.log)
    assert {served.call(key).status_code for _ in range(5)} == {200}
    assert victims <= descendants(served.process.pid)


def started_workers(served: Any) -> list[dict[str, Any]]:
    parsed = [json.loads(line) for line in list(served.lines) if line.startswith("{")]
    return [event for event in parsed if event["event"].startswith("Started server process")]


@pytest.mark.not_on("cluster", because="is about the embedded server")
@pytest.mark.slow
def test_a_cache_server_that_dies_is_started_again(serve: Serve, tiergate: Run) -> None:
    served = serve()
    key = new_key_when_ready(served, tiergate)
    [valkey] = [pid for pid in descendants(served.process.pid) if program(pid) == "valkey-server"]
    os.kill(valkey, signal.SIGKILL)
    served.wait_for("the cache server had gone and was started again")
    until(lambda: served.call(key).status_code == 200, served.log)


@pytest.mark.not_on("cluster", because="is about the embedded server")
@pytest.mark.slow
def test_a_key_revoked_while_the_gateway_is_down_is_refused_when_it_is_back(serve: Serve, tiergate: Run) -> None:
    first = serve()
    first.wait_for("gateway serves")
    issued = new_key(tiergate)
    assert first.call(issued["key"]).status_code == 200
    assert first.stop() == 0
    result = tiergate("keys", "revoke", issued["key_id"], "--user-id", "ada")
    assert result.exit_code == 0
    assert "safe in the ledger" in result.stderr
    second = serve()
    assert {second.call(issued["key"]).status_code for _ in range(2)} == {401}


@pytest.mark.slow
def test_a_key_revoked_while_the_gateway_runs_is_refused_by_every_worker_at_once(serve: Serve, tiergate: Run) -> None:
    served = serve("--workers", "2")
    served.wait_for("gateway serves")
    issued = new_key(tiergate)
    assert {served.call(issued["key"]).status_code for _ in range(6)} == {200}
    assert tiergate("keys", "revoke", issued["key_id"], "--user-id", "ada").stderr == ""
    assert {served.call(issued["key"]).status_code for _ in range(6)} == {401}


@pytest.mark.slow
def test_an_address_in_use_is_said_and_nothing_is_left_running(serve: Serve, tmp_path: Path) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        served = serve("--port", str(port))
        assert served.process.wait(PATIENCE_S) == 1
    until(lambda: "Error:" in served.log(), served.log)
    assert f"Cannot listen on 127.0.0.1 port {port}: something listens there already" in served.log()
    assert "Traceback" not in served.log()
    assert not (tmp_path / "data of the test" / "cache").exists()
    assert working_in(tmp_path) == set()


def test_wrong_settings_are_all_said_at_once_without_any_value(serve: Serve) -> None:
    served = serve(
        TIERGATE_ADMIN_TOKEN="hunter2",
        STRIPE_SECRET_KEY="pk_test_hunter2",
        TIERGATE_WORKERS="hunter2",
        TIERGATE_UPSTREAM_URL="ftp://hunter2",
        TIERGATE_PROT="hunter2",
    )
    assert served.process.wait(PATIENCE_S) == 2
    until(lambda: "explains each" in served.log(), served.log)
    for name in ("ADMIN_TOKEN", "STRIPE_SECRET_KEY", "WORKERS", "UPSTREAM_URL", "PROT: there is no such setting"):
        assert name in served.log()
    assert "hunter2" not in served.log()


def test_a_gateway_without_anywhere_to_go_does_not_start_and_says_both_ways_to_mend_it(
    serve: Serve, environment: dict[str, str]
) -> None:
    del environment["TIERGATE_UPSTREAM_URL"]
    served = serve()
    assert served.process.wait(PATIENCE_S) == 2
    until(lambda: "explains each" in served.log(), served.log)
    assert "TIERGATE_UPSTREAM_URL: is not set" in served.log()
    assert "upstreams: {default: {servers: [http://localhost:3000]}}" in served.log()


@pytest.mark.slow
def test_a_service_link_of_kubernetes_does_not_say_where_to_listen(serve: Serve) -> None:
    served = serve("--port", "0", TIERGATE_SERVICE_HOST="10.0.0.7", TIERGATE_PORT_8000_TCP="tcp://10.0.0.7:8000")
    assert served.wait_for("gateway serves")["workers"] == 1
    ignored = [line for line in served.lines if "service links of Kubernetes are ignored" in line]
    assert len(ignored) == 1
    assert "TIERGATE_PORT_8000_TCP" in ignored[0]


@pytest.mark.not_on("cluster", because="is about the embedded server")
@pytest.mark.parametrize("in_the_way", ["cache", "runs"])
def test_a_data_directory_that_cannot_be_used_is_said_with_what_to_do(
    serve: Serve, tmp_path: Path, in_the_way: str
) -> None:
    data = tmp_path / "data of the test"
    data.mkdir()
    (data / in_the_way).touch()
    served = serve("--workers", "2")
    assert served.process.wait(PATIENCE_S) == 1
    until(lambda: "Error:" in served.log(), served.log)
    assert f"The data directory {data} cannot be used: File exists ({data / in_the_way})." in served.log()
    assert "TIERGATE_DATA_DIR" in served.log()
    assert "Traceback" not in served.log()
    assert working_in(tmp_path) == set()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a directory that not even root may write to")
def test_a_data_directory_that_cannot_be_written_is_said_before_anything_is_started(serve: Serve) -> None:
    served = serve(TIERGATE_DATA_DIR="/proc")
    assert served.process.wait(PATIENCE_S) == 1
    until(lambda: "Error:" in served.log(), served.log)
    assert "Error: The data directory /proc cannot be used: " in served.log()
    assert "Traceback" not in served.log()


def test_an_invalid_policy_is_said_with_file_and_line(serve: Serve, policies: Path) -> None:
    file = policies / "tiergate.yaml"
    file.write_text(file.read_text().replace("tier: pro\n", "tier: prro\n", 1))
    served = serve()
    assert served.process.wait(PATIENCE_S) == 1
    until(lambda: "did you mean 'pro'?" in served.log(), served.log)
    assert "tiergate.yaml:" in served.log()


def test_a_ledger_that_does_not_answer_ends_the_start_without_telling_its_password(
    serve: Serve, tmp_path: Path
) -> None:
    served = serve(TIERGATE_LEDGER_URL="postgresql://user:hunter2@127.0.0.1:9/tiergate")
    assert served.process.wait(PATIENCE_S) == 1
    until(lambda: "cannot be brought up to date" in served.log(), served.log)
    assert "hunter2" not in served.log()
    assert working_in(tmp_path) == set()


@pytest.mark.slow
def test_events_that_were_done_long_ago_are_deleted(serve: Serve, migrated: Run, environment: dict[str, str]) -> None:
    async def fill() -> None:
        ledger = await Ledger.open(f"sqlite:///{environment['TIERGATE_DATA_DIR']}/ledger.sqlite3")
        for event_id, done_at in (("evt_old", 1_000), ("evt_new", int(time.time()))):
            await ledger.store_event(
                event_id=event_id,
                type="invoice.paid",
                stripe_customer_id=None,
                livemode=False,
                api_version=None,
                payload="{}",
                now=1_000,
            )
            await ledger.claim_events(worker="w", now=2_000, lease_s=60, limit=1)
            await ledger.finish_events([event_id], "w", now=done_at, outcome="synced")
        await ledger.aclose()

    asyncio.run(fill())
    assert serve().wait_for("old events deleted")["events"] == 1
    listed = json.loads(migrated("events", "list", "--json").stdout)["events"]
    assert [event["event_id"] for event in listed] == ["evt_new"]


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.slow
def test_an_app_that_does_not_start_ends_the_start(serve: Serve, processes: int) -> None:
    """The parent refuses most of what is wrong by itself; the simulator's clock is first read by the app."""
    served = serve("--workers", str(processes), TIERGATE_SIMULATED_CLOCK="no such file")
    assert served.process.wait(PATIENCE_S) == 1
    until(lambda: "startup failed" in served.log(), served.log)
    assert served.events("gateway serves") == []


def test_a_cache_url_without_a_sound_port_is_refused_without_telling_its_password(serve: Serve) -> None:
    served = serve(TIERGATE_REDIS_URL="redis://user:hunter2@localhost:no-port/0")
    assert served.process.wait(PATIENCE_S) in {1, 2}
    until(lambda: "TIERGATE_REDIS_URL" in served.log(), served.log)
    assert "hunter2" not in served.log()


@pytest.mark.slow
def test_people_get_one_block_that_says_what_is_running(serve: Serve) -> None:
    served = serve(TIERGATE_LOG_FORMAT="console", TIERGATE_REDIS_URL="redis://user:hunter2@127.0.0.1:9/0")
    until(lambda: "Ctrl-C drains and stops" in served.log() or served.process.poll() is not None, served.log)
    lines = served.log().splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("Tiergate "))
    block = "\n".join(lines[at : at + 9])
    assert "serves http://127.0.0.1:" in block
    assert "tiers free, pro, enterprise" in block
    assert "redis://127.0.0.1:9/0" in block
    assert "SQLite file" in block
    assert "hunter2" not in served.log()
    assert served.stop() == 0


@pytest.mark.slow
def test_settings_of_dot_env_are_read(environment: dict[str, str], tmp_path: Path) -> None:
    names = [name for name in environment if name.startswith(("TIERGATE_", "STRIPE_"))]
    (tmp_path / ".env").write_text("".join(f"{name}='{environment.pop(name)}'\n" for name in names))
    result = subprocess.run(
        [sys.executable, "-m", "gateway.cli", "migrate"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "up to date" in result.stdout
