"""Handshakes that are none are refused, and only codes that frames may carry are sent."""

from __future__ import annotations

import pytest
from websockets.server import ServerProtocol

from gateway.core.errors import MalformedRequest, WebSocketVersionRefused
from gateway.core.websocket import (
    check_websocket,
    is_parsed_by_server,
    is_sendable,
    parse_offer,
    parse_subprotocols,
    short_reason,
)

GOOD = {
    b"host": b"api.example",
    b"upgrade": b"websocket",
    b"connection": b"Upgrade",
    b"sec-websocket-version": b"13",
    b"sec-websocket-key": b"dGhlIHNhbXBsZSBub25jZQ==",
}


def fields(*more: tuple[bytes, bytes], **changed: bytes | None) -> list[tuple[bytes, bytes]]:
    replaced = {name.replace("_", "-").encode(): value for name, value in changed.items()}
    return [(name, value) for name, value in {**GOOD, **replaced}.items() if value is not None] + list(more)


@pytest.mark.parametrize(
    "good",
    [
        pytest.param(fields(), id="least"),
        pytest.param(fields(upgrade=b"WebSocket", connection=b"keep-alive, UPGRADE"), id="case-and-list"),
        pytest.param(fields((b"content-length", b"0")), id="no-length"),
        pytest.param(fields((b"connection", b"close")), id="two-connection-fields"),
    ],
)
def test_a_handshake_passes(good):
    check_websocket(good, "1.1", method="GET")
    check_websocket(good, "1.1")


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(fields(upgrade=None), id="no-upgrade"),
        pytest.param(fields(upgrade=b"h2c"), id="another-protocol"),
        pytest.param(fields(upgrade=b"websocket, h2c"), id="two-protocols"),
        pytest.param(fields((b"upgrade", b"websocket")), id="upgrade-twice"),
        pytest.param(fields(connection=None), id="no-connection"),
        pytest.param(fields(connection=b"keep-alive"), id="no-upgrade-in-connection"),
        pytest.param(fields(sec_websocket_version=None), id="no-version"),
        pytest.param(fields(sec_websocket_version=b"13, 8"), id="two-versions"),
        pytest.param(fields((b"sec-websocket-version", b"13")), id="version-twice"),
        pytest.param(fields(sec_websocket_key=None), id="no-key"),
        pytest.param(fields((b"sec-websocket-key", GOOD[b"sec-websocket-key"])), id="key-twice"),
        pytest.param(fields(sec_websocket_key=b""), id="empty-key"),
        pytest.param(fields(sec_websocket_key=b"abc"), id="short-key"),
        pytest.param(fields(sec_websocket_key=b"dGhlIHNhbXBsZSBub25j"), id="key-of-15-bytes"),
        pytest.param(fields(sec_websocket_key=b"dGhlIHNhbXBsZSBub25jZTE="), id="key-of-17-bytes"),
        pytest.param(fields(sec_websocket_key=b"dGhlIHNhbXBsZSBub25jZ\xff=="), id="key-not-base64"),
        pytest.param(fields(sec_websocket_key=b"dGhlIHNhbXBsZSBub25jZ!=="), id="key-with-punctuation"),
        pytest.param(fields((b"content-length", b"5")), id="body"),
        pytest.param(fields((b"content-length", b"0"), (b"content-length", b"5")), id="two-lengths"),
        pytest.param(fields((b"transfer-encoding", b"chunked")), id="chunked-body"),
    ],
)
def test_anything_else_is_refused(bad):
    with pytest.raises(MalformedRequest):
        check_websocket(bad, "1.1", method="GET")


@pytest.mark.parametrize("version", [b"8", b"0", b"130"])
def test_another_version_is_told_so(version):
    with pytest.raises(WebSocketVersionRefused):
        check_websocket(fields(sec_websocket_version=version), "1.1", method="GET")


@pytest.mark.parametrize(("method", "version"), [("POST", "1.1"), ("HEAD", "1.1"), ("GET", "1.0"), ("GET", "2")])
def test_it_takes_get_and_http_1_1(method, version):
    with pytest.raises(MalformedRequest):
        check_websocket(fields(), version, method=method)


def test_subprotocols_keep_their_order():
    assert parse_subprotocols(
        [(b"sec-websocket-protocol", b"b, a"), (b"x", b"y"), (b"sec-websocket-protocol", b"c")]
    ) == (
        "b",
        "a",
        "c",
    )
    assert parse_subprotocols([]) == ()


@pytest.mark.parametrize("value", [b"", b"a,", b"a, a", b"a b", b"a\xff", b"a;b", b'"a"'])
def test_subprotocols_are_distinct_tokens(value):
    with pytest.raises(MalformedRequest):
        parse_subprotocols([(b"sec-websocket-protocol", value)])


@pytest.mark.parametrize(
    ("offered", "expected"),
    [
        pytest.param(b"b, a", (("b", "a"), (), None), id="no-key"),
        pytest.param(b"tiergate, a", (("tiergate", "a"), (), None), id="our-name-without-a-key"),
        pytest.param(b"tiergate.key.tg_x", ((), (b"tg_x",), None), id="a-key-alone"),
        pytest.param(b"a, Tiergate.KEY.tg_x, b", (("a", "b"), (b"tg_x",), None), id="in-other-letters"),
        pytest.param(b"tiergate, tiergate.key.tg_x, a", (("a",), (b"tg_x",), "tiergate"), id="with-our-name"),
        pytest.param(b"tiergate.key.a, tiergate.key.b", ((), (b"a", b"b"), None), id="two-keys"),
        pytest.param(b"tiergate.key.", ((), (b"",), None), id="an-empty-key"),
        pytest.param(b"tiergate.keys.a", (("tiergate.keys.a",), (), None), id="nearly"),
    ],
)
def test_a_key_among_the_subprotocols_is_for_us_alone(offered, expected):
    assert parse_offer([(b"sec-websocket-protocol", offered)]) == expected


@pytest.mark.parametrize(
    ("target", "more"),
    [
        pytest.param(b"/", [], id="short"),
        *(pytest.param(b"/" * n, [], id=f"target-{n}") for n in (8175, 8176, 8177, 8178, 8179)),
        *(pytest.param(b"/", [(b"x", b"v" * n)], id=f"value-{n}") for n in (8185, 8186, 8187, 8188, 8189)),
        *(pytest.param(b"/", [(b"x", b"v")] * n, id=f"fields-{n}") for n in (122, 123, 124)),
    ],
)
def test_what_the_library_reads_is_known(target, more):
    lines = [b"%b: %b" % pair for pair in fields(*more)]
    library = ServerProtocol()
    library.receive_data(b"\r\n".join([b"GET %b HTTP/1.1" % target, *lines]) + b"\r\n\r\n")
    assert bool(library.events_received()) == is_parsed_by_server(target, lines)


def test_the_server_reads_no_longer_handshakes():
    assert is_parsed_by_server(b"/" * 8000, [b"a:b"])
    assert not is_parsed_by_server(b"/" * 8192, [b"a:b"])
    assert is_parsed_by_server(b"/", [b"cookie: " + b"c" * 8180, b"a:b"])
    assert not is_parsed_by_server(b"/", [b"cookie: " + b"c" * 8190, b"a:b"])
    assert is_parsed_by_server(b"/", [b"a:b"] * 128)
    assert not is_parsed_by_server(b"/", [b"a:b"] * 129)


def test_reserved_and_unassigned_codes_are_not_sent():
    sendable = {code for code in range(6000) if is_sendable(code)}
    assert sendable == {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}


def test_a_reason_fits_its_frame():
    assert short_reason("enough") == "enough"
    assert short_reason("é" * 100) == "é" * 61
    assert len(short_reason("x" * 1000)) == 123
