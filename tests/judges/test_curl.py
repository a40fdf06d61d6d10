"""curl as a caller, with the options by which it speaks HTTP in its different ways."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.judges.ground import clean_environment, resident_kb, tool
from tests.judges.upstream import TEXT

pytestmark = [pytest.mark.judge, pytest.mark.timeout(240)]

GIGABYTE = 1_000_000_000
ROOM_KB = 32_768
"""What a gateway's memory may grow by while a gigabyte passes: buffers of one exchange, and what Python keeps."""
_FACTS = "\\n%{json}"
_HTTP_ERROR, _NOT_HTTP_2 = 22, {16, 52}
"""Exit codes: an answer of 400 or more with --fail; a fault in the HTTP/2 framing layer, or no answer in HTTP/2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What curl got, and what it says of it."""

    code: int
    body: bytes
    facts: dict[str, object]
    errors: str

    @property
    def status(self) -> object:
        return self.facts["http_code"]


Curl = Callable[..., Said]


@pytest.fixture(scope="module")
def curl_program() -> str:
    return tool("curl", "curl")


@pytest.fixture
def curl(curl_program, gateway, key) -> Curl:
    """Calls one path with the key."""

    def call(path: str, *options: str, sends: bytes | None = None, with_key: bool = True) -> Said:
        command = [
            curl_program,
            "--silent",
            "--show-error",
            "--max-time",
            "60",
            "--noproxy",
            "*",
            "--write-out",
            _FACTS,
        ]
        command += ["--header", f"X-API-Key: {key}"] if with_key else []
        played = subprocess.run(
            [*command, *options, gateway.url + path],
            input=sends,
            capture_output=True,
            check=False,
            env=clean_environment(),
        )
        body, _, facts = played.stdout.rpartition(b"\n")
        return Said(code=played.returncode, body=body, facts=json.loads(facts), errors=played.stderr.decode())

    return call


def echoed(said: Said) -> dict[str, str]:
    """The fields that the API behind got."""
    return dict(json.loads(said.body)["headers"])


def test_this_curl_knows_http_2(curl_program):
    told = subprocess.run([curl_program, "--version"], capture_output=True, text=True, check=True).stdout
    assert "HTTP2" in told


def test_http_1_0_gets_the_whole_body_without_chunks(curl):
    said = curl("/v1/chunks", "--http1.0")
    assert (said.code, said.status, said.body) == (0, 200, TEXT)


def test_connections_are_kept(curl, gateway):
    said = curl("/v1/text", "--output", "/dev/null", gateway.url + "/v1/text", "--output", "/dev/null")
    connects = [json.loads(line)["num_connects"] for line in said.body.splitlines() if line.startswith(b"{")]
    assert [*connects, said.facts["num_connects"]] == [1, 0]


def test_an_offer_of_http_2_changes_nothing(curl):
    said = curl("/v1/echo", "--http2")
    assert (said.status, said.facts["http_version"]) == (200, "1.1")
    assert not {"upgrade", "http2-settings", "connection"} & set(echoed(said))


def test_http_2_without_asking_fails_at_once_and_cleanly(curl):
    said = curl("/v1/echo", "--http2-prior-knowledge")
    assert said.code in _NOT_HTTP_2
    assert float(str(said.facts["time_total"])) < 5
    assert curl("/v1/echo").status == 200


def test_what_waits_for_100_continue_is_uploaded(curl, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(TEXT * 20)
    said = curl("/v1/sink", "--header", "Expect: 100-continue", "--upload-file", str(file), "--request", "POST")
    told = json.loads(said.body)
    assert told["sha256"] == hashlib.sha256(TEXT * 20).hexdigest()
    assert told["framing"] == ["content-length"]


def test_who_is_refused_is_not_asked_for_the_body(curl, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(TEXT * 20)
    options = "--header", "Expect: 100-continue", "--upload-file", str(file), "--expect100-timeout", "30"
    said = curl("/v1/sink", *options, "--request", "POST", with_key=False)
    assert (said.status, said.facts["size_upload"]) == (401, 0)


def test_what_comes_from_a_pipe_is_uploaded_in_chunks(curl):
    said = curl("/v1/sink", "--upload-file", "-", "--request", "POST", sends=TEXT * 20)
    told = json.loads(said.body)
    assert told["sha256"] == hashlib.sha256(TEXT * 20).hexdigest()
    assert told["framing"] == ["transfer-encoding"]


def test_a_part_is_asked_for(curl):
    said = curl("/v1/text", "--range", "100-199")
    assert (said.status, said.body) == (206, TEXT[100:200])
    assert curl("/v1/text", "--range", "99999999-").status == 416


def test_a_broken_download_is_resumed(curl, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(TEXT[:20_000])
    said = curl("/v1/text", "--continue-at", "-", "--output", str(file))
    assert (said.status, file.read_bytes()) == (206, TEXT)


def test_the_head_alone_tells_the_length(curl):
    said = curl("/v1/text", "--head")
    assert said.status == 200
    assert f"content-length: {len(TEXT)}".encode() in said.body


def test_what_is_not_new_is_not_sent_again(curl, tmp_path):
    tag = tmp_path / "tag"
    assert curl("/v1/text", "--etag-save", str(tag)).status == 200
    said = curl("/v1/text", "--etag-compare", str(tag))
    assert (said.status, said.body) == (304, b"")


def test_compressed_bytes_pass_as_they_are(curl):
    said = curl("/v1/packed", "--compressed")
    assert said.body == TEXT
    assert int(str(said.facts["size_download"])) < len(TEXT) / 10


def test_trailers_of_the_api_are_dropped(curl):
    said = curl("/v1/trailing", "--raw", "--include")
    assert said.body.endswith(b"hello")
    assert b"x-sum" not in said.body.lower()


def test_a_time_to_wait_is_kept_to(curl):
    begun = time.monotonic()
    said = curl("/v1/busy", "--retry", "1")
    assert time.monotonic() - begun >= 2  # Retry-After; curl's own pause would be one second
    assert (said.status, said.body) == (503, b"later\nlater\n")


def test_a_refusal_is_an_error_to_scripts(curl):
    assert curl("/v1/text", "--fail", with_key=False).code == _HTTP_ERROR


def test_a_path_that_is_sent_as_it_is_is_refused(curl):
    assert curl("/v1/../v1/text", "--path-as-is").status == 400
    assert curl("/v1/../v1/text").status == 200


def test_cookies_are_kept_apart(curl, tmp_path):
    jar = str(tmp_path / "jar")
    curl("/v1/cookies", "--cookie-jar", jar)
    said = curl("/v1/cookies", "--cookie", jar)
    assert sorted(json.loads(said.body)["cookies"][0].split("; ")) == ["first=1", "second=2"]


def test_events_come_while_they_are_made(curl_program, gateway, key):
    command = [curl_program, "--silent", "--no-buffer", "--header", f"X-API-Key: {key}", "--noproxy", "*"]
    with subprocess.Popen([*command, f"{gateway.url}/v1/events?n=20"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"id: 1\n"
        assert process.poll() is None  # 3.8 s are still to come
        assert process.stdout.read().count(b"data: ") == 20


def test_a_gigabyte_comes_down_and_memory_stays_flat(curl, gateway):
    curl("/v1/big?bytes=100000000", "--output", "/dev/null")
    before = resident_kb(gateway.process)
    said = curl(f"/v1/big?bytes={GIGABYTE}", "--output", "/dev/null")
    grown = resident_kb(gateway.process) - before
    assert (said.code, said.facts["size_download"]) == (0, GIGABYTE)
    assert grown < ROOM_KB, f"{grown} KiB more"


@pytest.mark.parametrize("framing", ["content-length", "transfer-encoding"])
def test_a_gigabyte_goes_up_and_memory_stays_flat(curl, gateway, tmp_path: Path, framing):
    file = tmp_path / "file"
    with file.open("wb") as sparse:
        sparse.truncate(GIGABYTE)
    options = ["--header", "Transfer-Encoding: chunked"] if framing == "transfer-encoding" else []
    curl("/v1/sink", "--request", "POST", "--upload-file", "-", sends=TEXT * 200)
    before = resident_kb(gateway.process)
    said = curl("/v1/sink", "--request", "POST", "--upload-file", str(file), *options)
    grown = resident_kb(gateway.process) - before
    told = json.loads(said.body)
    assert (told["bytes"], told["framing"]) == (GIGABYTE, [framing])
    assert grown < ROOM_KB, f"{grown} KiB more"
