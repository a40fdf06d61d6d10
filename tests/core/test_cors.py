"""Who may open a WebSocket from a page."""

from __future__ import annotations

import pytest

from gateway.core.cors import may_connect
from gateway.core.upstream_policy import Cors

NAMED = Cors(origins=("https://app.example", "http://localhost:5173"))


@pytest.mark.parametrize(
    ("origin", "host", "expected"),
    [
        pytest.param(None, b"api.example", True, id="a-program"),
        pytest.param(b"https://app.example", b"api.example", True, id="named"),
        pytest.param(b"http://localhost:5173", b"api.example", True, id="named-with-port"),
        pytest.param(b"https://api.example", b"api.example", True, id="the-called-host"),
        pytest.param(b"https://api.example:8443", b"API.example:8443", True, id="the-called-host-and-port"),
        pytest.param(b"https://api.example", b"api.example:8443", False, id="another-port"),
        pytest.param(b"http://app.example", b"api.example", False, id="another-scheme"),
        pytest.param(b"https://app.example.evil.example", b"api.example", False, id="longer"),
        pytest.param(b"null", b"api.example", False, id="null"),
        pytest.param(b"", b"", False, id="nothing"),
        pytest.param(b"https://evil.example", b"", False, id="no-host"),
    ],
)
def test_pages_of_sites_that_policy_names_may_open_websockets(origin, host, expected):
    headers = [(b"host", host), *([(b"origin", origin)] if origin is not None else [])]
    assert may_connect(NAMED, headers) is expected


def test_any_site_may_where_policy_says_so():
    assert may_connect(Cors(origins=("*",)), [(b"origin", b"null"), (b"host", b"api.example")])
