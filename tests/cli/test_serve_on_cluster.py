"""A whole gateway on a cluster: two workers, real calls, and a master that dies."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import Result

from tests.cli.test_serve import until
from tests.cli.test_supervisor import kill, ready, started
from tests.fakes.valkey_cluster import ValkeyCluster

Run = Callable[..., Result]
Serve = Callable[..., Any]

pytestmark = pytest.mark.slow


@pytest.fixture
def running(environment: dict[str, str]) -> Iterator[tuple[ValkeyCluster, Callable[[Any], Any]]]:
    with tempfile.TemporaryDirectory(prefix="tg") as folder, ValkeyCluster.running(Path(folder)) as running:
        environment["TIERGATE_REDIS_URL"] = running[0].url
        yield running


def key_at(run: Run, port: int, running: tuple[ValkeyCluster, Callable[[Any], Any]]) -> str:
    """The key of a new customer whom one master has."""
    cluster, do = running
    for number in range(100):
        made = json.loads(run("customers", "create", "--user-id", f"u{port}-{number}", "--json").stdout)
        if do(cluster.owner(made["customer_id"])).port == port:
            issued = json.loads(run("keys", "issue", "--user-id", f"u{port}-{number}", "--json").stdout)
            return str(issued["key"])
    raise AssertionError(port)


def test_a_gateway_serves_from_a_cluster_and_loses_nobody_but_for_as_long_as_a_master_is_down(
    serve: Serve,
    tiergate: Run,
    environment: dict[str, str],
    running: tuple[ValkeyCluster, Callable[[Any], Any]],
) -> None:
    cluster, do = running
    served = serve("--workers", "2")
    served.wait_for("gateway serves")
    keys = [key_at(tiergate, master.port, running) for master in cluster.masters]
    assert [served.call(key).status_code for key in keys for _ in range(4)] == [200] * 12
    do(cluster.masters[0].kill())
    until(lambda: served.call(keys[0]).status_code == 503, served.log)
    assert {served.call(key).status_code for key in keys[1:] for _ in range(4)} == {200}
    assert httpx.get(f"{served.url}/_tiergate/ready", timeout=60).status_code == 200
    bearer = {"authorization": f"Bearer {environment['TIERGATE_ADMIN_TOKEN']}"}
    told = httpx.get(f"{served.url}/_tiergate/ready", headers=bearer, timeout=60).text
    assert f"127.0.0.1:{cluster.masters[0].port}" in told
    do(cluster.masters[0].start())
    until(lambda: served.call(keys[0]).status_code == 200, served.log)
    assert served.stop() == 0


def test_workers_that_start_while_the_ledger_is_away_serve_the_customers_of_every_master(
    serve: Serve, tiergate: Run, tmp_path: Path, running: tuple[ValkeyCluster, Callable[[Any], Any]]
) -> None:
    served = serve("--workers", "2")
    served.wait_for("gateway serves")
    keys = [key_at(tiergate, master.port, running) for master in running[0].masters]
    assert [served.call(key).status_code for key in keys] == [200] * 3
    ledger = tmp_path / "data of the test" / "ledger.sqlite3"
    ledger.rename(tmp_path / "away")
    ledger.mkdir()  # a file in its place could be opened, or made anew
    kill(*started(served))
    until(lambda: ready(served) == 4, served.log)
    assert [served.call(key).status_code for key in keys for _ in range(4)] == [200] * 12, served.log()
    ledger.rmdir()
    (tmp_path / "away").rename(ledger)
    assert served.stop() == 0
