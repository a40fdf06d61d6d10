"""How much may be in progress at once, through a running gateway, and that every end of a call gives its place back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import httpx
import pytest

from tests.fakes.raw_caller import RawCaller, request
from tests.web.policy_files import TIERS, write_policy

pytestmark = pytest.mark.slow

ROUTES = """\
routes:
  - {match: /v1/slow/**, timeout: 200ms}
  - {match: /v1/small/**, max_body: 10B}
  - {match: "* /v1/**"}
"""


@pytest.fixture(scope="module")
def api(stage):
    return stage.add("api")


@pytest.fixture(scope="module")
def settings(tmp_path_factory, api):
    directory = write_policy(tmp_path_factory.mktemp("policies"), ROUTES)
    return {"TIERGATE_UPSTREAM_URL": api.url, "TIERGATE_POLICY_DIR": str(directory)}


@pytest.fixture(scope="module")
def busy(start_shared, settings):
    """At most eight calls at once."""
    return start_shared(**settings, TIERGATE_MAX_IN_FLIGHT="8")


@pytest.fixture(scope="module")
def narrow(start_shared, settings):
    """One call at once for each customer, and few connections."""
    return start_shared(**settings, TIERGATE_MAX_IN_FLIGHT_PER_CUSTOMER="1", TIERGATE_MAX_CONNECTIONS="100")


@pytest.fixture(scope="module")
def limited(start_shared, tmp_path_factory, api):
    """One call at once for each customer, by policy."""
    tiers = TIERS.replace("1_000 per second,", "1_000 per second, 1 concurrent,")
    directory = write_policy(tmp_path_factory.mktemp("policies"), ROUTES, tiers=tiers)
    return start_shared(TIERGATE_UPSTREAM_URL=api.url, TIERGATE_POLICY_DIR=str(directory))


def used(client: httpx.Client) -> int:
    rows = client.get("/api/v1/usage").raise_for_status().json()["limits"]
    return next(row["used"] for row in rows if row["name"] == "period")


def authorization(client: httpx.Client) -> str:
    return f"Authorization: {client.headers['authorization']}"


@pytest.fixture
def hold(api, until):
    """Keeps calls in progress until they are let go."""
    held: list[RawCaller] = []

    def begin(client: httpx.Client, count: int = 1) -> list[RawCaller]:
        before = len(api.busy)
        made = [RawCaller(str(client.base_url)) for _ in range(count)]
        held.extend(made)
        for caller in made:
            caller.send(request("GET /v1/silence", authorization(client)))
        until(lambda: len(api.busy) == before + count)
        return made

    yield begin
    for caller in held:
        caller.socket.close()
    until(lambda: not api.busy)


def test_when_a_worker_fills_up_the_lowest_tier_is_told_first_and_pays_nothing(busy, hold):
    clients = {
        "free": busy.customer()[2],
        "pro": busy.subscribed()[2],
        "enterprise": busy.subscribed("enterprise-monthly")[2],
    }
    _, _, other = busy.customer()
    held = 0
    for room, tier in ((6, "free"), (7, "pro"), (8, "enterprise")):
        hold(clients["enterprise"], room - held)
        held = room
        before = {name: used(client) for name, client in clients.items()}
        refused = clients[tier].get("/v1/x")
        assert (refused.status_code, refused.json()["code"]) == (503, "overloaded"), tier
        assert int(refused.headers["retry-after"]) >= 1
        assert "ratelimit" not in refused.headers
        for higher in list(clients)[list(clients).index(tier) + 1 :]:
            assert clients[higher].get("/v1/x").status_code == 200
            before[higher] += 1
        assert {name: used(client) for name, client in clients.items()} == before
    assert other.get("/v1/x").status_code == 503
    assert busy.metric("tiergate_decisions_total", route="* /v1/**", tier="pro", verdict="overloaded") == 1


def test_room_that_is_free_again_is_used_at_once(busy, hold, until):
    _, _, client = busy.customer()
    _, _, other = busy.customer()
    callers = hold(client, 6)
    assert other.get("/v1/x").status_code == 503
    callers[0].socket.close()
    until(lambda: other.get("/v1/x").status_code == 200)


def test_a_customer_may_have_so_many_calls_at_once_and_others_do_not_notice(narrow, hold):
    _, _, client = narrow.customer()
    _, _, other = narrow.customer()
    hold(client)
    refused = client.get("/v1/x")
    assert (refused.status_code, refused.json()["code"]) == (429, "too-many-concurrent")
    assert int(refused.headers["retry-after"]) >= 1
    assert used(client) == 1
    assert other.get("/v1/x").status_code == 200
    why = narrow.admin.get(f"/_tiergate/why/{refused.json()['decision_id']}").json()
    assert (why["verdict"], why["status"]) == ("too-many-concurrent", 429)


def completes(client: httpx.Client) -> None:
    assert client.get("/v1/x").status_code == 200


def fails_behind(client: httpx.Client) -> None:
    assert client.get("/v1/failure").status_code == 500


def takes_too_long(client: httpx.Client) -> None:
    assert client.get("/v1/slow/silence").status_code == 504


def breaks_off(client: httpx.Client) -> None:
    with contextlib.suppress(httpx.RemoteProtocolError):
        client.get("/v1/cut")


def is_left_before_the_response(client: httpx.Client) -> None:
    with RawCaller(str(client.base_url)) as caller:
        caller.send(request("GET /v1/silence", authorization(client)))


def is_left_in_the_response(client: httpx.Client) -> None:
    with client.stream("GET", "/v1/stream") as answer:
        next(answer.iter_raw())


def is_reset_in_the_upload(client: httpx.Client) -> None:
    caller = RawCaller(str(client.base_url))
    caller.send(request("POST /v1/x", authorization(client), "Content-Length: 100000", body=b"x" * 70_000))
    caller.reset()


def sends_too_much(client: httpx.Client) -> None:
    assert client.post("/v1/small/x", content=b"x" * 11).status_code == 413


def sends_too_much_unannounced(client: httpx.Client) -> None:
    with contextlib.suppress(httpx.HTTPError):
        client.post("/v1/small/x", content=[b"x" * 6] * 2)


def sends_a_broken_body(client: httpx.Client) -> None:
    with RawCaller(str(client.base_url)) as caller:
        broken = caller.ask("POST /v1/x", authorization(client), "Transfer-Encoding: chunked", body=b"zz\r\n")
    assert broken.status == 400


def is_not_sold(client: httpx.Client) -> None:
    assert client.get("/nowhere").status_code == 404


def asks_for_the_head_only(client: httpx.Client) -> None:
    assert client.head("/v1/fields").status_code == 200


ENDS = (
    completes,
    fails_behind,
    takes_too_long,
    breaks_off,
    is_left_before_the_response,
    is_left_in_the_response,
    is_reset_in_the_upload,
    sends_too_much,
    sends_too_much_unannounced,
    sends_a_broken_body,
    is_not_sold,
    asks_for_the_head_only,
)


@pytest.mark.parametrize("capped", ["narrow", "limited"])
@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_every_end_of_a_call_gives_its_place_back(request, until, end, capped):
    """Whose only place were lost would be refused for ever, or until it expires."""
    _, _, client = request.getfixturevalue(capped).customer()
    for _ in range(2):
        end(client)
        until(lambda: client.get("/v1/x").status_code == 200)


def test_what_limits_refuse_takes_no_place(narrow):
    _, _, client = narrow.customer(limits=["1 requests per day"])
    assert [client.get("/v1/x").status_code for _ in range(3)] == [200, 429, 429]
    _, _, scoped = narrow.customer(scopes=["GET /v1/y"])
    assert [scoped.get("/v1/x").status_code, scoped.get("/v1/y").status_code] == [403, 200]


@pytest.fixture
def crowd(narrow) -> Iterator[list[RawCaller]]:
    """As many connections as the gateway takes."""
    callers = [RawCaller(narrow.url) for _ in range(100)]
    yield callers
    for caller in callers:
        caller.socket.close()


def test_a_connection_too_many_is_told_so_and_closed(narrow, crowd, until):
    with RawCaller(narrow.url) as one_more:
        told = one_more.read()
        assert (told.status, told.code) == (503, "too-many-connections")
        assert int(told.get("retry-after") or 0) >= 1
        assert told.get("connection") == "close"
        assert one_more.rest() == b""
    for caller in crowd:
        caller.socket.close()

    def answers() -> bool:
        with RawCaller(narrow.url) as caller:
            return caller.ask("GET /_tiergate/health").status == 200

    until(answers)
