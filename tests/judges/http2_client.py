"""Calls the gateway in HTTP/2, with httpx and with h2 alone. Runs in the judges' environment, which has no Tiergate.

Arguments: the gateway's URL, the file of its authority, an API key. Out: JSON, what came of each call by its name.
"""

import asyncio
import json
import socket
import ssl
import sys
import time
from urllib.parse import urlsplit

import h2.config
import h2.connection
import h2.errors
import h2.events
import httpx

PATIENCE_S = 20.0


def _echo(answer):
    seen = answer.json()
    return {
        "status": answer.status_code,
        "version": answer.http_version,
        "fields": seen["headers"],
        "path": seen["path"],
    }


async def at_once(client):
    """Many calls on one connection, each with its own answer."""
    answers = await asyncio.gather(*(client.get(f"/v1/echo/{number}") for number in range(100)))
    return [answer.json()["path"] for answer in answers] == [f"/v1/echo/{number}" for number in range(100)]


async def cookies_in_crumbs(client):
    return _echo(await client.get("/v1/echo", headers=[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")]))


async def body_without_length(client):
    async def parts():
        for _ in range(100):
            yield b"x" * 10_000

    return (await client.post("/v1/sink", content=parts())).json()


async def too_large_a_body(client):
    answer = await client.post("/v1/small", content=b"x" * 5000)
    return [answer.status_code, (await client.get("/v1/echo")).status_code]


async def too_much_header(client):
    try:
        answer = await client.get("/v1/echo", headers={"x-large": "x" * 70_000})
        refused = answer.status_code
    except httpx.RemoteProtocolError:
        refused = "reset"
    return [refused, (await client.get("/v1/echo")).status_code]


async def events(client):
    """Whether events come while the next ones are made."""
    clock = asyncio.get_running_loop().time
    async with client.stream("GET", "/v1/events?n=5") as answer:
        at = [clock() async for _ in answer.aiter_raw()]
    return {"parts": len(at), "seconds": at[-1] - at[0]}


async def grpc_web(client):
    frame = b"\0\0\0\0\5hello"
    fields = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1"}
    return (await client.post("/grpc/judge.Echo/Unary", content=frame, headers=fields)).content.hex()


POLITE = (at_once, cookies_in_crumbs, body_without_length, too_large_a_body, too_much_header, events, grpc_web)


async def _politely(url, ca_file, key):
    context = ssl.create_default_context(cafile=ca_file)
    async with httpx.AsyncClient(
        http2=True, http1=False, verify=context, base_url=url, headers={"x-api-key": key}, timeout=PATIENCE_S,
        trust_env=False,
    ) as client:  # fmt: skip
        return {each.__name__: await each(client) for each in POLITE}


def _rude_calls(authority, key):
    """Requests that no client may send, as (fields, body)."""
    first = [(":method", "POST"), (":scheme", "https"), (":authority", authority), (":path", "/v1/echo")]
    own = [("x-api-key", key)]
    return {
        "nothing rude": ([*first, *own], b"hello"),
        "Host and :authority differ": ([*first, ("host", "other.test"), *own], b"hello"),
        "Connection": ([*first, ("connection", "keep-alive"), *own], b"hello"),
        "Transfer-Encoding": ([*first, ("transfer-encoding", "chunked"), *own], b"0\r\n\r\n"),
        "longer than its length": ([*first, ("content-length", "2"), *own], b"hello"),
        "shorter than its length": ([*first, ("content-length", "9"), *own], b"hello"),
        "two lengths": ([*first, ("content-length", "5"), ("content-length", "6"), *own], b"hello"),
        "a line break in a value": ([*first, ("x-evil", "1\r\nx-smuggled: 1"), *own], b"hello"),
        "a capital in a name": ([*first, ("X-Evil", "1"), *own], b"hello"),
        "a line break in the path": ([*first[:3], (":path", "/v1/echo HTTP/1.1\r\nx-smuggled: 1"), *own], b"hello"),
        "a blank in the method": ([(":method", "GET /v1/evil HTTP/1.1\r\nx: "), *first[1:], *own], b"hello"),
        "no path": ([*first[:3], *own], b"hello"),
        "a path without a slash": ([*first[:3], (":path", "v1/echo"), *own], b"hello"),
        "TRACE": ([(":method", "TRACE"), *first[1:], *own], b""),
        "CONNECT": ([(":method", "CONNECT"), (":authority", "example.com:443"), *own], b""),
    }


def _connect(url, ca_file):
    place = urlsplit(url)
    context = ssl.create_default_context(cafile=ca_file)
    context.set_alpn_protocols(["h2"])
    raw = socket.create_connection(("127.0.0.1", place.port), timeout=PATIENCE_S)
    config = h2.config.H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False)
    state = h2.connection.H2Connection(config)
    state.initiate_connection()
    return context.wrap_socket(raw, server_hostname=place.hostname), state


def _leaves(url, ca_file, key):
    """A response is cancelled in its middle, as browsers do; how many more calls the API behind then saw left."""
    first = [(":method", "GET"), (":scheme", "https"), (":authority", urlsplit(url).netloc)]
    connection, state = _connect(url, ca_file)
    streams = iter(range(1, 1000, 2))

    def ask(path):
        stream = next(streams)
        state.send_headers(stream, [*first, (":path", path), ("x-api-key", key)], end_stream=True)
        connection.sendall(state.data_to_send())
        return stream, _until(connection, state, h2.events.DataReceived).data

    def endings():
        return len(json.loads(ask("/v1/hung")[1])["endings"])

    with connection:
        before = endings()
        stream, _ = ask("/v1/hang")
        state.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
        deadline = time.monotonic() + PATIENCE_S
        while (left := endings() - before) == 0 and time.monotonic() < deadline:
            time.sleep(0.1)
        return left


def _until(connection, state, kind):
    """The next event of that kind."""
    while data := connection.recv(65_536):
        found = [event for event in state.receive_data(data) if isinstance(event, kind)]
        connection.sendall(state.data_to_send())
        if found:
            return found[0]
    raise ConnectionError("closed")


def _rudely(url, ca_file, fields, body):
    """One request on a connection of its own: status and body, or how it was refused."""
    connection, state = _connect(url, ca_file)
    with connection:
        state.send_headers(1, fields, end_stream=not body)
        if body:
            state.send_data(1, body, end_stream=True)
        connection.sendall(state.data_to_send())
        told = {"status": None, "body": ""}
        while True:
            data = connection.recv(65_536)
            if not data:
                return told | {"end": "closed"}
            for event in state.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    told["status"] = int(dict(event.headers)[b":status"])
                elif isinstance(event, h2.events.DataReceived):
                    told["body"] += event.data.decode()
                elif isinstance(event, h2.events.StreamEnded):
                    return told | {"end": "complete"}
                elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                    return told | {"end": "reset"}
            connection.sendall(state.data_to_send())


def main(url, ca_file, key):
    told = asyncio.run(_politely(url, ca_file, key))
    told["leaves"] = _leaves(url, ca_file, key)
    told["rude"] = {
        name: _rudely(url, ca_file, fields, body)
        for name, (fields, body) in _rude_calls(urlsplit(url).netloc, key).items()
    }
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
