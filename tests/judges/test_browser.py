"""Chromium as a caller: pages of another origin and of the same one, streams both ways, cookies, gRPC-Web."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.judges.http2_ground import running_under_granian
from tests.judges.test_http2 import http2_gateway
from tests.judges.upstream import TEXT
from tests.web.browser import Browser, open_browser

__all__ = ["http2_gateway", "running_under_granian"]

pytestmark = [pytest.mark.judge, pytest.mark.timeout(180)]


class Page:
    """A page that calls a gateway. `base` and `key` are known to its scripts."""

    def __init__(self, browser: Browser, base: str, key: str) -> None:
        self._browser = browser
        self._names = f"const base = {json.dumps(base)}, key = {json.dumps(key)}, own = {{'X-API-Key': key}};"

    def does(self, script: str) -> Any:
        """What an async function of this body returns."""
        return self._browser.run(f"{self._names} return (async () => {{ {script} }})()")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture
def page(browser, gateway, api, key) -> Page:
    """Of another origin, which the policy names."""
    browser.open(f"{api.url}/page")
    return Page(browser, gateway.url, key)


@contextlib.contextmanager
def adding(browser: Browser, fields: dict[str, str]) -> Iterator[None]:
    """The browser sends these fields with every request, also where scripts cannot."""
    browser._command("Network.enable", {})
    browser._command("Network.setExtraHTTPHeaders", {"headers": fields})
    try:
        yield
    finally:
        browser._command("Network.setExtraHTTPHeaders", {"headers": {}})


FAILS = "try { const answer = await %s; return answer.status } catch (error) { return error.name }"


def test_a_page_of_a_named_origin_may_call_with_a_key(page):
    told = page.does("""
        const answer = await fetch(base + '/v1/text', {headers: own});
        const names = ['tiergate-decision', 'ratelimit', 'via'];
        return [answer.status, (await answer.text()).length, ...names.map(name => answer.headers.has(name))]""")
    assert told == [200, len(TEXT), True, True, False]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_methods_that_need_a_preflight_pass(page, method):
    call = f"fetch(base + '/v1/echo', {{method: '{method}', headers: own, body: 'x'}})"
    assert page.does(f"return (await (await {call}).json()).method") == method


def test_a_refusal_can_be_read_by_the_page(page):
    told = page.does("""
        const answer = await fetch(base + '/v1/text');
        return [answer.status, answer.headers.get('content-type'), (await answer.json()).code]""")
    assert told == [401, "application/problem+json", "invalid-api-key"]


def test_a_call_without_a_key_is_not_answered_with_what_a_call_with_one_got(page):
    told = page.does("""
        await (await fetch(base + '/v1/text', {headers: own})).text();
        return (await fetch(base + '/v1/text')).status""")
    assert told == 401  # the text may be kept for a minute, and the field with the key is not Authorization


def test_a_page_of_another_origin_is_kept_out(browser, gateway, api, key):
    browser.open(api.url.replace("127.0.0.1", "localhost") + "/page")
    stranger = Page(browser, gateway.url, key)
    assert stranger.does(FAILS % "fetch(base + '/v1/text', {headers: own})") == "TypeError"
    assert any("CORS" in message for message in browser.console())


def test_cookies_of_the_api_come_back_if_the_page_asks_for_it(page):
    told = page.does("""
        const call = async credentials =>
            (await (await fetch(base + '/v1/cookies', {headers: own, credentials})).json()).cookies;
        await call('include');
        return [await call('omit'), await call('include')]""")
    assert told == [[], ["first=1; second=2"]]


def test_what_is_not_new_is_asked_for_and_not_sent_again(page):
    told = page.does("""
        const get = () => fetch(base + '/v1/text', {headers: own, cache: 'no-cache'});
        await (await get()).text();
        const answer = await get();
        return [answer.status, (await answer.text()).length]""")
    assert told == [200, len(TEXT)]


def test_events_are_read_as_they_come(page):
    told = page.does("""
        const answer = await fetch(base + '/v1/events?n=4', {headers: own});
        const reader = answer.body.getReader(), at = [];
        for (let part; !(part = await reader.read()).done;) at.push(performance.now());
        return [at.length, at.at(-1) - at[0]]""")
    assert told[0] == 4
    assert told[1] > 300


def test_an_event_source_hears_every_event(browser, gateway, key):
    with adding(browser, {"X-API-Key": key}):
        browser.open(f"{gateway.url}/v1/page")
        told = Page(browser, gateway.url, key).does("""
            const source = new EventSource('/v1/events?n=4'), heard = [];
            return await new Promise(done => {
                source.onmessage = event => heard.push([event.lastEventId, event.data]);
                source.onerror = () => { source.close(); done(heard) };
            })""")
    assert told == [[str(number), f"event {number}"] for number in range(1, 5)]


def test_an_event_source_has_no_field_for_a_key_and_is_refused(page):
    told = page.does("""
        const source = new EventSource(base + '/v1/events');
        return await new Promise(done => { source.onerror = () => done(source.readyState) })""")
    assert told == 2  # closed: it does not try again


def test_a_large_file_is_uploaded(page):
    told = page.does("""
        const body = new Blob([new Uint8Array(20_000_000)]);
        return await (await fetch(base + '/v1/sink', {method: 'POST', headers: own, body})).json()""")
    assert (told["bytes"], told["framing"]) == (20_000_000, ["content-length"])
    assert told["sha256"] == hashlib.sha256(bytes(20_000_000)).hexdigest()


def test_a_large_download_is_read_in_parts(page):
    told = page.does("""
        const answer = await fetch(base + '/v1/big?bytes=50000000', {headers: own}), reader = answer.body.getReader();
        let bytes = 0, parts = 0;
        for (let part; !(part = await reader.read()).done; parts++) bytes += part.value.length;
        return [bytes, parts > 10]""")
    assert told == [50_000_000, True]


LEAVES = """
    const hung = async () => (await (await fetch(base + '/v1/hung', {headers: own})).json()).endings.length;
    const before = await hung(), leaving = new AbortController();
    const answer = await fetch(base + '/v1/hang', {headers: own, signal: leaving.signal});
    await answer.body.getReader().read();
    leaving.abort();
    for (let tries = 0; tries < 150 && await hung() == before; tries++)
        await new Promise(done => setTimeout(done, 100));
    return await hung() - before"""


def test_a_page_that_stops_reading_ends_the_exchange_with_the_api(page):
    assert page.does(LEAVES) == 1


GRPC_WEB = """
    const message = new Uint8Array([0, 0, 0, 0, 5, ...new TextEncoder().encode('hello')]);
    const headers = {...own, 'Content-Type': 'application/grpc-web+proto'};
    const answer = await fetch(base + '/grpc/judge.Echo/%s', {method: 'POST', headers, body: message});
    const body = new Uint8Array(await answer.arrayBuffer());
    return [answer.headers.get('content-type'), new TextDecoder('latin1').decode(body)]"""
_MESSAGE = "\0\0\0\0\5hello"
_END = "\x80\0\0\0\x20grpc-status: 0\r\ngrpc-message: \r\n"


@pytest.mark.parametrize(("call", "messages"), [("Unary", 1), ("Stream", 3)])
def test_grpc_web_passes_unchanged(page, call, messages):
    kind, body = page.does(GRPC_WEB % call)
    assert kind == "application/grpc-web+proto"
    assert body.encode("cp1252") == (_MESSAGE * messages + _END).encode("latin-1").replace(
        b"\x80", "€".encode("cp1252")
    )


STREAMED = """
    const body = new ReadableStream({start(out) {
        for (let part = 0; part < 100; part++) out.enqueue(new Uint8Array(10_000));
        out.close();
    }});
    const answer = await fetch(base + '/v1/sink', {method: 'POST', headers: own, body, duplex: 'half'});
    return await answer.json()"""


def test_a_streamed_upload_needs_http_2_and_chromium_says_so(browser, page):
    with pytest.raises(AssertionError, match="Failed to fetch"):
        page.does(STREAMED)
    assert any("ERR_ALPN_NEGOTIATION_FAILED" in message for message in browser.console())


def test_over_http_2_an_upload_is_streamed_and_a_call_is_cancelled(browser, http2_gateway):
    browser._command("Security.setIgnoreCertificateErrors", {"ignore": True})
    with adding(browser, {"X-API-Key": http2_gateway.key}):
        browser.open(f"{http2_gateway.url}/v1/page")
    page = Page(browser, http2_gateway.url, http2_gateway.key)
    told = page.does(STREAMED)
    assert (told["bytes"], told["framing"]) == (1_000_000, ["transfer-encoding"])
    assert page.does("return performance.getEntriesByType('resource').at(-1).nextHopProtocol") == "h2"
    assert page.does(LEAVES) == 1
