"""What ends a WebSocket beside its two sides, what keeps it from opening, and what is billed of it then."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest
from websockets.exceptions import ConnectionClosed

from gateway.cli.ports import free_port
from tests.fakes.websocket_thread import websocket_api
from tests.web.browser import open_browser
from tests.web.sockets import POLICY, closed, key_of, open_socket, refused, used

pytestmark = pytest.mark.slow  # each case has a gateway of its own, and waits


@pytest.fixture
def api():
    with websocket_api() as upstream:
        yield upstream


@pytest.fixture
def start(start_gateway, api, tmp_path):
    (tmp_path / "policy.yaml").write_text(POLICY)

    def start(url: str = f"http://127.0.0.1:{api.port}", **more: str):
        return start_gateway(TIERGATE_UPSTREAM_URL=url, TIERGATE_POLICY_DIR=str(tmp_path), **more)

    return start


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """A server that gives one answer to whatever it is asked, and hangs up. Its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65_536)
                    connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)


# Billed or not.


def test_a_websocket_that_no_server_opens_costs_nothing(start):
    gateway = start(f"http://127.0.0.1:{free_port()}")
    _, _, client = gateway.customer()
    status, problem, fields = refused(gateway.url, "/chat", key_of(client))
    assert (status, problem["code"]) == (502, "upstream-unreachable")
    assert '"period";r=100;' in fields["RateLimit"]
    assert used(client) == 0


@pytest.mark.parametrize(
    ("answer", "status", "billed"),
    [
        pytest.param(b"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno", 503, 0, id="503"),
        pytest.param(b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno", 404, 1, id="404"),
        pytest.param(b"HTTP/1.1 101 Yes\r\nUpgrade: h2c\r\n\r\n", 502, 0, id="another-protocol"),
        pytest.param(b"", 502, 0, id="nothing"),
    ],
)
def test_an_answer_instead_of_a_websocket_is_billed_like_a_calls(start, answer, status, billed):
    with answering(answer) as port:
        gateway = start(f"http://127.0.0.1:{port}")
        _, _, client = gateway.customer()
        assert refused(gateway.url, "/chat", key_of(client))[0] == status
        assert used(client) == billed


@pytest.mark.parametrize("who", ["the caller", "the upstream", "nobody, for it is lost"])
def test_a_websocket_that_is_settled_by_bytes_costs_those_of_the_apis_messages_whoever_ends_it(start, api, until, who):
    gateway = start()
    _, _, client = gateway.customer()
    with open_socket(gateway.url, "/settled", key_of(client)) as opened:
        for message in ("héllo", b"x" * 250):
            opened.send(message)
            assert opened.recv(timeout=10) == message
        assert used(client, "bytes") == 9, "what was reserved, in the first minute"
        if who != "the caller":
            other = api.connections[0]
            lose = other.transport.abort if "lost" in who else other.transport.close
            other.loop.call_soon_threadsafe(lose)
            closed(opened)
    until(lambda: used(client, "bytes") == 6 + 250)
    until(lambda: gateway.metric("tiergate_charges_settled_total", result="settled") == 1)


def test_a_websocket_that_is_settled_by_a_header_costs_what_was_reserved(start, until):
    gateway = start()
    _, _, client = gateway.customer()
    with open_socket(gateway.url, "/told", key_of(client)) as opened:
        opened.send("hello")
        assert opened.recv(timeout=10)
    until(lambda: gateway.metric("tiergate_websockets_open") == 0)
    assert used(client, "bytes") == 9
    assert gateway.metric("tiergate_charges_settled_total", result="settled") == 0


def test_a_handshake_costs_what_its_header_says(start):
    gateway = start()
    _, _, client = gateway.customer()
    with open_socket(gateway.url, "/sized", key_of(client), fields={"X-Size": "42"}):
        assert used(client, "bytes") == 42
    status, problem, _ = refused(gateway.url, "/sized", key_of(client))
    assert (status, problem["code"]) == (400, "cost-unreadable")
    assert used(client, "bytes") == 42


def test_a_websocket_that_the_upstream_loses_before_it_says_anything_costs_nothing(start, api, until):
    gateway = start()
    _, _, client = gateway.customer()
    with open_socket(gateway.url, "/manual", key_of(client)) as opened:
        until(lambda: api.connections)
        assert used(client) == 1
        lost = api.connections[0]
        lost.loop.call_soon_threadsafe(lost.transport.abort)
        assert closed(opened) == (1011, "the upstream was lost")
    until(lambda: used(client) == 0)


# Several servers, and full ones.


def test_a_server_that_cannot_be_reached_is_passed_over(start, api):
    gateway = start(f"http://127.0.0.1:{free_port()},http://127.0.0.1:{api.port}")
    _, _, client = gateway.customer()
    for _ in range(4):
        with open_socket(gateway.url, "/chat", key_of(client)) as opened:
            opened.send("hello")
            assert opened.recv(timeout=10) == "hello"


def test_no_more_are_open_than_may_be_and_calls_go_on(start):
    gateway = start(TIERGATE_UPSTREAM_MAX_WEBSOCKETS="1", TIERGATE_UPSTREAM_MAX_CONNECTIONS="1")
    _, _, client = gateway.customer()
    with open_socket(gateway.url, "/chat", key_of(client)):
        status, problem, _ = refused(gateway.url, "/chat", key_of(client))
        assert (status, problem["code"]) == (503, "upstream-busy")
        assert client.get("/chat").status_code == 426  # the upstream's own answer to a plain GET
    assert used(client) == 2


def test_an_open_websocket_is_a_call_in_progress(start):
    gateway = start(TIERGATE_MAX_IN_FLIGHT_PER_CUSTOMER="1")
    _, _, client = gateway.customer()
    with open_socket(gateway.url, "/chat", key_of(client)):
        assert refused(gateway.url, "/chat", key_of(client))[1]["code"] == "too-many-concurrent"
        assert client.get("/chat").json()["code"] == "too-many-concurrent"


# Ends.


def test_a_gateway_that_stops_says_so_to_both_sides(start, api, until):
    gateway = start()
    _, _, client = gateway.customer()
    with open_socket(gateway.url, "/manual", key_of(client)) as opened:
        until(lambda: api.connections)
        gateway.process.send_signal(signal.SIGTERM)
        assert closed(opened)[0] == 1012
        until(lambda: api.connections[0].close_code in {1001, 1012})
    assert gateway.process.wait(10) in {0, -signal.SIGTERM}
    assert "Traceback" not in gateway.log.read_text()


def test_an_edit_of_the_policy_holds_for_open_websockets(start, tmp_path, until):
    gateway = start()
    _, _, client = gateway.customer()
    policy = POLICY.replace("5 messages", "10_000 messages")
    with open_socket(gateway.url, "/chat", key_of(client)) as opened:

        def is_charged() -> bool:
            opened.send("hello")
            assert opened.recv(timeout=10) == "hello"
            return used(client, "messages") > 0

        assert not is_charged()
        (tmp_path / "policy.yaml").write_text(policy.replace("max_message: 64KiB", "cost_per_message: {messages: 1}"))
        until(is_charged)
        (tmp_path / "policy.yaml").write_text(policy.replace("{max_message: 64KiB}", "refuse"))
        with suppress(ConnectionClosed):
            until(lambda: not is_charged())
        assert closed(opened) == (1008, "upgrade-not-supported")


@pytest.mark.slow
def test_a_minute_and_its_bytes_are_charged_and_a_revoked_key_notices_although_nothing_is_sent(start):
    gateway = start()
    _, _, client = gateway.customer()
    _, _, other = gateway.customer()
    _, _, third = gateway.customer()
    [told] = other.get("/api/v1/api-keys").json()["keys"]
    with ExitStack() as stack:
        timed = stack.enter_context(open_socket(gateway.url, "/timed", key_of(client)))
        free = stack.enter_context(open_socket(gateway.url, "/chat", key_of(other)))
        settled = stack.enter_context(open_socket(gateway.url, "/settled", key_of(third)))
        settled.send(b"x" * 250)
        assert settled.recv(timeout=10)
        assert other.delete(f"/api/v1/api-keys/{told['key_id']}").is_success
        assert used(client, "minutes") == 0
        deadline = time.monotonic() + 150
        assert used(third, "bytes") == 9
        while used(client, "minutes") < 7 or used(third, "bytes") < 250:
            assert time.monotonic() < deadline
            time.sleep(1)
        assert closed(free) == (1008, "invalid-api-key")
        timed.send("still here")
        assert timed.recv(timeout=10) == "still here"
    assert used(client) == 1


def test_an_app_inside_the_gateway_has_none(start_gateway):
    gateway = start_gateway(target="tests.fakes.inside_app:create")
    _, _, client = gateway.customer()
    status, problem, _ = refused(gateway.url, "/v1/echo", key_of(client))
    assert (status, problem["code"]) == (501, "upgrade-not-supported")
    assert used(client) == 0


def test_a_page_in_chromium_opens_one_with_its_key_as_a_subprotocol(start, api):
    gateway = start()
    _, _, client = gateway.customer()
    script = """
    const [url, protocols, done] = arguments;
    const socket = new WebSocket(url, protocols);
    socket.onopen = () => socket.send('hello');
    socket.onmessage = (event) => { socket.message = event.data; socket.close(4000, 'bye'); };
    socket.onclose = (event) => done([socket.protocol, socket.message || '', event.code, event.reason]);
    """
    url, key = gateway.url.replace("http://", "ws://") + "/chat", f"tiergate.key.{key_of(client)}"
    with open_browser() as browser:
        browser.open(f"http://127.0.0.1:{api.port}/refuse")  # any page of another site, without a rule of its own
        api.requests.clear()
        assert browser.run_async(script, url, ["tiergate", key]) == ["tiergate", "hello", 4000, "bye"]
        assert browser.run_async(script, url, ["chat", key]) == ["chat", "hello", 4000, "bye"]
        assert browser.run_async(script, url, ["tiergate"])[2] == 1006
    asked = [request for request in api.requests if request.path == "/chat"]  # not the page, nor its icon
    assert [key_of(client) in str(request.headers) for request in asked] == [False, False]
    assert used(client) == 2
