"""WebSockets to upstreams behind TLS."""

from __future__ import annotations

import ssl

import pytest

from gateway.upstream import Upstream
from gateway.upstream.errors import NotConnected
from tests.fakes.certificate import certificate
from tests.fakes.raw_upstream import RawUpstream
from tests.fakes.websocket_caller import CLOSE, WebSocketCaller, frame, read_close, read_frame, switched


async def _echo_once(peer) -> None:
    await switched(peer)
    await peer.send(frame(*await read_frame(peer)) + frame(CLOSE, b"\x0f\xa0"))
    await read_close(peer)
    await peer.close()


async def test_a_websocket_runs_over_tls(tmp_path):
    server_tls, client_tls = certificate("api.internal", tmp_path)
    names: list[str | None] = []
    server_tls.sni_callback = lambda _sock, name, _context: names.append(name)
    caller = WebSocketCaller()
    caller.say("x" * 300_000)
    async with RawUpstream(_echo_once, ssl_context=server_tls) as server:
        to = Upstream(f"https://127.0.0.1:{server.port}", ssl_context=client_tls, server_name="api.internal")
        outcome = await caller.relay(to)
    assert caller.got.get_nowait() == "x" * 300_000
    assert (caller.close, outcome.messages_up, names) == ((4000, ""), 1, ["api.internal"])


@pytest.mark.parametrize("flaw", ["not-trusted", "another-name", "no-tls-there"])
async def test_a_certificate_that_does_not_fit_is_never_accepted(tmp_path, flaw):
    server_tls, client_tls = certificate("api.internal", tmp_path)
    caller = WebSocketCaller()
    async with RawUpstream(_nothing, ssl_context=None if flaw == "no-tls-there" else server_tls) as server:
        tls = ssl.create_default_context() if flaw == "not-trusted" else client_tls
        name = "other.internal" if flaw == "another-name" else "api.internal"
        with pytest.raises(NotConnected):
            await caller.relay(Upstream(f"https://127.0.0.1:{server.port}", ssl_context=tls, server_name=name))
        assert server.requests == []
    assert caller.events == []


async def _nothing(peer) -> None:
    await peer.send(b"HTTP/1.1 400 No\r\n\r\n")
    await peer.until_closed()
