"""httplint reads what the gateway sends: its own answers, its refusals, and what passes through it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.judges.exchanges import Exchange, exchange, lengths_agree, request
from tests.judges.ground import MAX_BODY, Api, clean_environment, judge, policy
from tests.web.conftest import ADMIN_TOKEN, Gateway

pytestmark = pytest.mark.judge

PROGRAM = Path(__file__).parent / "linting.py"
ADMIN = f"Authorization: Bearer {ADMIN_TOKEN}"
JSON = "Content-Type: application/json"

ANSWERED = {
    "STATUS_BAD_REQUEST": "It is told to whoever sent the request; the request was bad.",
    "STATUS_URI_TOO_LONG": "As above: the target was too long.",
    "STATUS_VERSION_NOT_SUPPORTED": "As above: the request was of no version of HTTP that is spoken here.",
    "FRESHNESS_HEURISTIC": "The API behind said nothing about caching, and a gateway that guesses would be wrong.",
    "VARY_COMPLEX": "The key's two fields and Origin are the gateway's, the rest the API's: caches have to know all.",
}
"""Findings that stay, and why. docs/judges.md says it at length."""
PASSED_THROUGH = {"FRESHNESS_HEURISTIC", "VARY_COMPLEX"}
"""Findings about what the API behind sent; in an answer of the gateway's own they are faults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Everything the cases ask."""

    api: Api
    gateway: Gateway
    key: str
    used_up_key: str
    unpaid: Gateway
    """Without a default tier: calls need a subscription."""
    without_cache: Gateway

    def ask(self, method: str, target: str, *lines: str, body: bytes = b"", of: Gateway | None = None) -> Exchange:
        url = (of or self.gateway).url
        host = urlsplit(url).netloc
        return exchange(url, request(method, target, *lines, host=host, body=body))

    def call(self, method: str, target: str, *lines: str, body: bytes = b"") -> Exchange:
        """With the key."""
        return self.ask(method, target, f"X-API-Key: {self.key}", *lines, body=body)

    def preflight(self, origin: str) -> Exchange:
        asked = "Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: x-api-key"
        return self.ask("OPTIONS", "/v1/text", f"Origin: {origin}", *asked)

    def of_another_version(self) -> Exchange:
        sent = request("GET", "/v1/text", host="api.test").replace(b"HTTP/1.1", b"HTTP/3.0", 1)
        return exchange(self.gateway.url, sent)


Ask = Callable[[Ground], Exchange]

FORWARDED: dict[str, tuple[int, Ask]] = {
    "a text": (200, lambda ground: ground.call("GET", "/v1/text")),
    "a text for a bearer": (200, lambda ground: ground.ask("GET", "/v1/text", f"Authorization: Bearer {ground.key}")),
    "its head": (200, lambda ground: ground.call("HEAD", "/v1/text")),
    "nothing new": (304, lambda ground: ground.call("GET", "/v1/text", 'If-None-Match: "fox-1"')),
    "a part": (206, lambda ground: ground.call("GET", "/v1/text", "Range: bytes=0-9")),
    "no such part": (416, lambda ground: ground.call("GET", "/v1/text", "Range: bytes=99999999-")),
    "chunks": (200, lambda ground: ground.call("GET", "/v1/chunks")),
    "chunks with a trailer": (200, lambda ground: ground.call("GET", "/v1/trailing")),
    "events": (200, lambda ground: ground.call("GET", "/v1/events?n=2")),
    "a compressed text": (200, lambda ground: ground.call("GET", "/v1/packed", "Accept-Encoding: gzip")),
    "cookies": (200, lambda ground: ground.call("GET", "/v1/cookies")),
    "busy": (503, lambda ground: ground.call("GET", "/v1/busy")),
    "the last on a connection": (200, lambda ground: ground.call("GET", "/v1/text", "Connection: close")),
    "for another origin": (200, lambda ground: ground.call("GET", "/v1/text", f"Origin: {ground.api.url}")),
}
REFUSED: dict[str, tuple[int, Ask]] = {
    "an ambiguous path": (400, lambda ground: ground.call("GET", "/v1//x")),
    "no key": (401, lambda ground: ground.ask("GET", "/v1/text")),
    "no key, asked for the head": (401, lambda ground: ground.ask("HEAD", "/v1/text")),
    "no key, from another origin": (401, lambda ground: ground.ask("GET", "/v1/text", f"Origin: {ground.api.url}")),
    "not paid": (
        402,
        lambda ground: ground.ask("GET", "/v1/text", f"X-API-Key: {ground.key}", of=ground.unpaid),
    ),
    "not in the tier": (403, lambda ground: ground.call("GET", "/v1/exports/x")),
    "not in the API": (404, lambda ground: ground.call("GET", "/nowhere")),
    "too large a body": (413, lambda ground: ground.call("POST", "/v1/small", body=b"x" * (MAX_BODY + 1))),
    "too long a target": (414, lambda ground: ground.call("GET", "/v1/" + "x" * 20_000)),
    "an unknown expectation": (417, lambda ground: ground.call("GET", "/v1/text", "Expect: wonders")),
    "used up": (429, lambda ground: ground.ask("GET", "/v1/text", f"X-API-Key: {ground.used_up_key}")),
    "too much header": (431, lambda ground: ground.call("GET", "/v1/text", "X-Large: " + "x" * 70_000)),
    "a method that is not forwarded": (501, lambda ground: ground.call("TRACE", "/v1/text")),
    "no cache": (
        503,
        lambda ground: ground.ask("GET", "/v1/text", f"X-API-Key: {ground.key}", of=ground.without_cache),
    ),
    "another version of HTTP": (505, Ground.of_another_version),
    "our path, nothing there": (404, lambda ground: ground.ask("GET", "/_tiergate/nowhere")),
    "our path, not this method": (405, lambda ground: ground.ask("DELETE", "/_tiergate/health")),
    "our path, no token": (401, lambda ground: ground.ask("GET", "/_tiergate/metrics")),
    "our path, no admin": (403, lambda ground: ground.call("GET", "/_tiergate/metrics")),
    "our path, no such decision": (404, lambda ground: ground.ask("GET", "/_tiergate/why/dec_1", ADMIN)),
    "our path, no JSON": (400, lambda ground: ground.call("POST", "/api/v1/api-keys", JSON, body=b"{")),
    "an unsigned event": (400, lambda ground: ground.ask("POST", "/api/v1/webhook", JSON, body=b"{}")),
}
OWN: dict[str, tuple[int, Ask]] = {
    "a preflight": (204, lambda ground: ground.preflight(ground.api.url)),
    "a preflight of a stranger": (204, lambda ground: ground.preflight("https://elsewhere.test")),
    "health": (200, lambda ground: ground.ask("GET", "/_tiergate/health")),
    "the head of health": (200, lambda ground: ground.ask("HEAD", "/_tiergate/health")),
    "the methods of health": (204, lambda ground: ground.ask("OPTIONS", "/_tiergate/health")),
    "readiness": (200, lambda ground: ground.ask("GET", "/_tiergate/ready")),
    "no readiness": (503, lambda ground: ground.ask("GET", "/_tiergate/ready", of=ground.without_cache)),
    "metrics": (200, lambda ground: ground.ask("GET", "/_tiergate/metrics", ADMIN)),
    "the key set": (200, lambda ground: ground.ask("GET", "/_tiergate/jwks.json")),
    "the OpenAPI document": (200, lambda ground: ground.ask("GET", "/_tiergate/docs/openapi.json")),
    "problem codes": (200, lambda ground: ground.ask("GET", "/_tiergate/errors")),
    "the pricing page": (200, lambda ground: ground.ask("GET", "/_tiergate/pricing")),
    "its head only": (200, lambda ground: ground.ask("HEAD", "/_tiergate/pricing")),
    "the sign-in page": (200, lambda ground: ground.ask("GET", "/_tiergate/sign-in")),
    "the account page of nobody": (303, lambda ground: ground.ask("GET", "/_tiergate/account")),
    "the style sheet": (200, lambda ground: ground.ask("GET", "/_tiergate/static/style.css")),
    "plans": (200, lambda ground: ground.ask("GET", "/api/v1/plans")),
    "usage": (200, lambda ground: ground.call("GET", "/api/v1/usage")),
    "a new key": (201, lambda ground: ground.call("POST", "/api/v1/api-keys", JSON, body=b"{}")),
    "customers": (200, lambda ground: ground.ask("GET", "/_tiergate/admin/customers?limit=1", ADMIN)),
}
CASES = FORWARDED | REFUSED | OWN


@pytest.fixture(scope="module")
def ground(api, gateway, key, start, tmp_path_factory) -> Ground:
    _, _, limited = gateway.customer(limits=["1 per day"])
    assert limited.get("/v1/text").status_code == 200
    policies = tmp_path_factory.mktemp("unpaid")
    (policies / "policy.yaml").write_text(policy(api, default_tier=False))
    return Ground(
        api=api,
        gateway=gateway,
        key=key,
        used_up_key=limited.headers["authorization"].partition(" ")[2],
        unpaid=start(TIERGATE_POLICY_DIR=str(policies)),
        without_cache=start(is_ready=False, TIERGATE_REDIS_URL="redis://127.0.0.1:1/0"),
    )


@pytest.fixture(scope="module")
def exchanges(ground) -> dict[str, Exchange]:
    return {name: ask(ground) for name, (_, ask) in CASES.items()}


@pytest.fixture(scope="module")
def notes(exchanges) -> dict[str, list[list[str]]]:
    """What httplint warns of or calls bad, for each case."""
    linted = subprocess.run(
        [judge("python"), PROGRAM],
        input=json.dumps([each.told() for each in exchanges.values()]),
        capture_output=True,
        text=True,
        check=True,
        env=clean_environment(),
    )
    return dict(zip(exchanges, json.loads(linted.stdout), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_an_answer_is_what_was_asked_for(exchanges, name):
    told = exchanges[name]
    assert told.status == CASES[name][0]
    assert told.complete
    assert told.all("date")
    assert told.request.startswith(b"HEAD ") or told.status in {204, 304} or lengths_agree(told)


@pytest.mark.parametrize("name", CASES)
def test_httplint_finds_nothing_that_is_not_answered(notes, name):
    answered = set(ANSWERED) if name in FORWARDED else set(ANSWERED) - PASSED_THROUGH
    assert [note for note in notes[name] if note[2] not in answered] == []


def test_httplint_reads_what_it_is_given():
    bad = {
        "url": "http://x/",
        "request_line": ["GET", "/", "1.1"],
        "request_fields": [["Host", "x"]],
        "request_body": "",
        "status_line": ["1.1", "201", "Created"],
        "fields": [["Content-Length", "5"], ["Date", "yesterday"]],
        "body": "",
        "complete": True,
    }
    linted = subprocess.run(
        [judge("python"), PROGRAM], input=json.dumps([bad]), capture_output=True, text=True, check=True
    )
    found = {note[2] for note in json.loads(linted.stdout)[0]}
    assert {"CL_INCORRECT", "CREATED_WITHOUT_LOCATION"} <= found
