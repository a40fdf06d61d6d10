"""HTTP/2 from callers, where the gateway runs under Granian: curl, httpx and h2 as the callers."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.judges.ground import ROOT, clean_environment, judge, policy, tool
from tests.judges.http2_ground import OPTIONS, Http2Gateway, running_under_granian
from tests.judges.upstream import TEXT

pytestmark = [pytest.mark.judge, pytest.mark.timeout(180)]

RESET = [
    "Connection",
    "Transfer-Encoding",
    "longer than its length",
    "shorter than its length",
    "two lengths",
    "a line break in a value",
    "a capital in a name",
    "a line break in the path",
    "a blank in the method",
    "no path",
    "a path without a slash",
]
"""Requests that no client may send (RFC 9113 section 8), which end in a reset of their stream."""


@pytest.fixture(scope="module")
def http2_gateway(world, api, tmp_path_factory) -> Iterator[Http2Gateway]:
    folder = tmp_path_factory.mktemp("granian")
    policies = folder / "policies"
    policies.mkdir()
    (policies / "policy.yaml").write_text(policy(api))
    own = {"TIERGATE_UPSTREAM_URL": api.url, "TIERGATE_POLICY_DIR": str(policies)}
    with running_under_granian(world | own, folder) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def told(http2_gateway) -> dict[str, Any]:
    """What came of the calls in `http2_client`."""
    program = [judge("python"), str(ROOT / "tests" / "judges" / "http2_client.py")]
    arguments = [http2_gateway.url, str(http2_gateway.ca_file), http2_gateway.key]
    played = subprocess.run(
        [*program, *arguments], capture_output=True, text=True, check=False, env=clean_environment()
    )
    assert played.returncode == 0, played.stderr
    found: dict[str, Any] = json.loads(played.stdout)
    return found


def curl(gateway: Http2Gateway, path: str, *options: str, sends: bytes | None = None) -> tuple[bytes, str]:
    """The body, and status and version."""
    command = [tool("curl", "curl"), "--silent", "--show-error", "--noproxy", "*", "--cacert", str(gateway.ca_file)]
    command += ["--http2", "--header", f"X-API-Key: {gateway.key}", "--write-out", "\\n%{http_code} %{http_version}"]
    played = subprocess.run([*command, *options, gateway.url + path], input=sends, capture_output=True, check=True)
    body, _, facts = played.stdout.rpartition(b"\n")
    return body, facts.decode()


def test_curl_speaks_http_2(http2_gateway):
    assert curl(http2_gateway, "/v1/text") == (TEXT, "200 2")


def test_curl_uploads_from_a_pipe(http2_gateway):
    body, facts = curl(http2_gateway, "/v1/sink", "--request", "POST", "--upload-file", "-", sends=TEXT * 20)
    assert (json.loads(body)["sha256"], facts) == (hashlib.sha256(TEXT * 20).hexdigest(), "200 2")


def test_curl_gets_the_head_alone(http2_gateway):
    body, facts = curl(http2_gateway, "/_tiergate/pricing", "--head")
    assert facts == "200 2"
    assert body.count(b"\n") > 5  # fields, of which curl makes the body


def test_curl_may_still_speak_http_1_1(http2_gateway):
    assert curl(http2_gateway, "/v1/text", "--http1.1") == (TEXT, "200 1.1")


def test_the_authority_is_the_host_that_the_api_is_told(http2_gateway):
    body, _ = curl(http2_gateway, "/v1/echo")
    fields = dict(json.loads(body)["headers"])
    assert f"https://{fields['x-forwarded-host']}" == http2_gateway.url
    assert (fields["x-forwarded-proto"], fields["via"]) == ("https", "2 tiergate")


def test_a_hundred_calls_at_once_each_get_their_own_answer(told):
    assert told["at_once"] is True


def test_cookies_in_crumbs_are_one_field_for_the_api(told):
    """RFC 9113 section 8.2.3."""
    fields = told["cookies_in_crumbs"]["fields"]
    assert [value for name, value in fields if name == "cookie"] == ["a=1; b=2; c=3"]


def test_a_body_without_a_length_is_forwarded_in_chunks(told):
    assert (told["body_without_length"]["bytes"], told["body_without_length"]["framing"]) == (
        1_000_000,
        ["transfer-encoding"],
    )


def test_a_body_that_is_too_large_is_refused_and_the_connection_goes_on(told):
    assert told["too_large_a_body"] == [413, 200]


def test_too_much_header_is_refused_and_the_connection_goes_on(told):
    assert told["too_much_header"] == [431, 200]


def test_events_come_one_by_one(told):
    assert told["events"]["parts"] == 5
    assert told["events"]["seconds"] > 0.4


def test_a_cancelled_stream_ends_the_exchange_with_the_api(told):
    assert told["leaves"] == 1


def test_grpc_web_passes_unchanged(told):
    assert told["grpc_web"].startswith(b"\0\0\0\0\5hello\x80".hex())


@pytest.mark.parametrize("name", RESET)
def test_what_no_client_may_send_is_reset_and_not_answered(told, name):
    assert told["rude"][name] == {"status": None, "body": "", "end": "reset"}


@pytest.mark.parametrize("name", ["TRACE", "CONNECT"])
def test_a_method_that_is_not_forwarded_is_refused(told, name):
    assert told["rude"][name]["status"] == 501


def test_of_host_and_authority_the_api_is_told_one(told):
    """Granian shows the app one of the two; RFC 9113 section 8.3.1 would have it refused."""
    answer = told["rude"]["Host and :authority differ"]
    hosts = [value for name, value in json.loads(answer["body"])["headers"] if name == "x-forwarded-host"]
    assert hosts == ["other.test"]


def test_nothing_crashed(told, http2_gateway):
    assert told["rude"]["nothing rude"]["status"] == 200
    assert "crashed" not in http2_gateway.log.read_text()


def test_the_manual_tells_the_command_that_was_judged():
    manual = " ".join((ROOT / "docs" / "operations.md").read_text().replace("\\\n", " ").split())
    assert " ".join(OPTIONS) in manual
