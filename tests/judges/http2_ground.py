"""The gateway under Granian with TLS, so that callers may speak HTTP/2."""

from __future__ import annotations

import contextlib
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from gateway.cli.ports import free_port
from tests.fakes.authority import Authority
from tests.judges.ground import ROOT, clean_environment
from tests.web.conftest import ADMIN_TOKEN

START_S = 40.0
OPTIONS = (
    *("--interface", "asgi", "--factory", "gateway.app:create_app", "--http", "auto"),
    *("--http2-max-headers-size", "65536", "--http2-max-concurrent-streams", "100", "--workers-kill-timeout", "30"),
)
"""As docs/operations.md, "HTTP/2 from callers", says; a test holds them to be the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Http2Gateway:
    """One gateway, and who vouches for it."""

    url: str
    ca_file: Path
    process: subprocess.Popen[bytes]
    log: Path
    key: str


@contextlib.contextmanager
def running_under_granian(settings: dict[str, str], folder: Path) -> Iterator[Http2Gateway]:
    """A gateway process with a certificate for `localhost`, and a customer."""
    authority = Authority(folder / "authority")
    trusting = ssl.create_default_context(cafile=authority.ca_file)
    certificate, key_file = authority.issue("localhost")
    port = free_port()
    url = f"https://localhost:{port}"
    log = folder / "granian.log"
    command = [sys.executable, "-m", "granian", *OPTIONS, "--host", "127.0.0.1", "--port", str(port)]
    command += ["--ssl-certificate", str(certificate), "--ssl-keyfile", str(key_file)]
    own = {"TIERGATE_PUBLIC_URL": url, "STRIPE_WEBHOOK_SECRET": "whsec_" + "x" * 32, "PYTHONPATH": str(ROOT)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=clean_environment() | settings | own,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        with httpx.Client(base_url=url, verify=trusting, trust_env=False, timeout=60) as client:
            _await_start(client, process, log)
            client.headers["authorization"] = f"Bearer {ADMIN_TOKEN}"
            created = client.post("/_tiergate/admin/customers", json={"user_id": f"h2-{port}"}).json()
            issued = client.post(f"/_tiergate/admin/customers/{created['customer_id']}/keys").json()
        yield Http2Gateway(url=url, ca_file=authority.ca_file, process=process, log=log, key=issued["key"])
    finally:
        process.terminate()
        process.wait(40)


def _await_start(client: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(httpx.HTTPError):
            if client.get("/_tiergate/ready").status_code == 200:
                return
        time.sleep(0.1)
    raise AssertionError(log.read_text())
