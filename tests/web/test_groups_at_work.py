"""Groups of upstream servers, through a running gateway that has no server but those of its policy."""

from __future__ import annotations

import signal
import socket
from collections import Counter
from pathlib import Path

import pytest

from gateway.policyfiles import load_policy
from tests.web.policy_files import write_policy

pytestmark = pytest.mark.slow

GROUPS = """\
upstreams:
  default: {servers: ["%(a)s weight 3", "%(b)s"]}
  named: {servers: "%(c)s"}
  hosted: {servers: "%(d)s", hosts: [api2.test]}
  fragile: {servers: ["http://127.0.0.1:%(dead)d", "%(c)s"], eject: 2 failures for 1m}
  checked: {servers: ["%(e)s", "%(f)s"], check: {path: /healthz, every: 100ms, healthy_after: 1, unhealthy_after: 2}}
"""
ROUTES = """\
routes:
  - {match: /v1/named/**, upstream: named}
  - {match: /v1/fragile/**, upstream: fragile}
  - {match: /v1/checked/**, upstream: checked}
"""
REST = '  - match: "* /v1/**"\n'


@pytest.fixture(scope="module")
def servers(stage):
    return {name: stage.add(name) for name in "abcdef"}


@pytest.fixture(scope="module")
def dead_port():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        yield nobody.getsockname()[1]


@pytest.fixture(scope="module")
def texts(servers, dead_port):
    """The parts of the policy."""
    groups = GROUPS % {"dead": dead_port, **{name: server.url for name, server in servers.items()}}
    return {"groups": groups, "routes": ROUTES, "rest": REST}


@pytest.fixture(scope="module")
def directory(tmp_path_factory, texts):
    return write_policy(tmp_path_factory.mktemp("policies"), *texts.values())


@pytest.fixture(scope="module")
def grouped(start_shared, directory):
    return start_shared(TIERGATE_UPSTREAM_URL="", TIERGATE_POLICY_DIR=str(directory))


@pytest.fixture(scope="module")
def client(grouped):
    return grouped.customer()[2]


@pytest.fixture
def edit(grouped, directory: Path, texts, until):
    """Puts another policy in force, and the first one again at the end."""

    def put(*parts: str) -> None:
        running = f"running {load_policy(write_policy(directory, *parts)).policy_hash}"
        grouped.process.send_signal(signal.SIGHUP)
        until(lambda: running in grouped.admin.get("/_tiergate/ready").text)

    yield put
    put(*texts.values())


def served_by(client, path, **options):
    answer = client.get(path, **options)
    assert answer.status_code == 200, answer.text
    return answer.json()["server"]


def test_a_route_goes_to_its_group_and_any_other_to_that_of_the_host_or_the_default(client):
    assert served_by(client, "/v1/named/x") == "c"
    assert served_by(client, "/v1/named/x", headers={"host": "api2.test"}) == "c"
    for host in ("api2.test", "API2.test:8443", "api2.test."):
        assert served_by(client, "/v1/x", headers={"host": host}) == "d"
    for host in ("api.test", "api2.test.evil", "x.api2.test"):
        assert served_by(client, "/v1/x", headers={"host": host}) in {"a", "b"}


def test_servers_get_calls_by_their_weights(client):
    assert Counter(served_by(client, "/v1/x") for _ in range(8)) == {"a": 6, "b": 2}


def test_a_dead_server_is_passed_over_and_then_left_alone_as_metric_and_log_say(grouped, client, dead_port):
    labels = {"group": "fragile", "server": f"http://127.0.0.1:{dead_port}"}
    assert grouped.metric("tiergate_upstream_healthy", **labels) == 1
    assert [served_by(client, "/v1/fragile/x") for _ in range(6)] == ["c"] * 6
    assert grouped.metric("tiergate_upstream_healthy", **labels) == 0
    [told] = [
        line for line in grouped.log.read_text().splitlines() if "upstream server is out" in line and "fragile" in line
    ]
    assert "failed requests" in told
    assert "Connection refused" in told


def test_a_server_that_fails_its_checks_gets_no_calls_until_it_passes_them_again(grouped, client, servers, until):
    labels = {"group": "checked", "server": servers["e"].url}
    assert {served_by(client, "/v1/checked/x") for _ in range(4)} == {"e", "f"}
    servers["e"].is_well = False
    until(lambda: grouped.metric("tiergate_upstream_healthy", **labels) == 0)
    assert {served_by(client, "/v1/checked/x") for _ in range(4)} == {"f"}
    servers["e"].is_well = True
    until(lambda: grouped.metric("tiergate_upstream_healthy", **labels) == 1)
    assert {served_by(client, "/v1/checked/x") for _ in range(4)} == {"e", "f"}


def test_an_edit_moves_new_calls_at_once_while_a_stream_of_the_removed_group_goes_on(
    client, stage, servers, texts, edit
):
    with client.stream("GET", "/v1/named/stream") as streaming:
        pieces = streaming.iter_raw()
        next(pieces)
        edit(
            texts["groups"].replace("named:", "renamed:"),
            texts["routes"].replace("upstream: named", "upstream: checked"),
            REST,
        )
        assert served_by(client, "/v1/named/x") in {"e", "f"}
        for _ in range(3):
            assert next(pieces)
        stage.call(servers["c"].ends.set)
        list(pieces)  # to a clean end, or this raises
    stage.call(servers["c"].ends.clear)


def test_a_group_is_added_changed_and_removed_without_a_restart(client, servers, texts, edit):
    more = f"  added: {{servers: '{servers['f'].url}'}}\n"
    route = "  - {match: /v1/added/**, upstream: added}\n"
    assert served_by(client, "/v1/added/x") in {"a", "b"}
    edit(texts["groups"] + more, ROUTES, route, REST)
    assert served_by(client, "/v1/added/x") == "f"
    edit(texts["groups"] + more.replace(servers["f"].url, servers["d"].url), ROUTES, route, REST)
    assert served_by(client, "/v1/added/x") == "d"
    edit(texts["groups"], ROUTES, REST)
    assert served_by(client, "/v1/added/x") in {"a", "b"}


def test_an_edit_that_leaves_calls_without_a_server_is_refused_and_changes_nothing(
    grouped, client, directory, texts, until
):
    write_policy(directory, texts["groups"].replace("default:", "other:"), ROUTES, REST)
    grouped.process.send_signal(signal.SIGHUP)
    until(lambda: "policy refused" in grouped.log.read_text())
    assert served_by(client, "/v1/x") in {"a", "b"}
    write_policy(directory, *texts.values())
    grouped.process.send_signal(signal.SIGHUP)
    until(lambda: "policy files are valid again" in grouped.log.read_text())
