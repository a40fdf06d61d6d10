"""A gateway process, from its command line until it answers and has a customer, and until it has ended."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
ADMIN_TOKEN = "admin-0123456789abcdefghij"
_START_S = 150.0
_ASK_S = 30.0
_END_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """It serves."""

    process: subprocess.Popen[bytes]
    customer_id: str
    key: bytes


@contextmanager
def serving(
    command: Sequence[str], env: Mapping[str, str], *, port: int, folder: Path, log: Path, user_id: str
) -> Iterator[Served]:
    """A gateway in a process of its own, with a customer who has a key.

    Args:
        command: What starts it on `port`.
        env: All of its environment but the modules' path and its own address.
        port: Of loopback.
        folder: Its working directory.
        log: Where it writes what it has to say.
        user_id: The customer's.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env={**env, "PYTHONPATH": str(ROOT), "TIERGATE_PUBLIC_URL": f"http://127.0.0.1:{port}"},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _await_start(process, port, log)
        customer_id = _ask(port, "customers", {"user_id": user_id})["customer_id"]
        issued = _ask(port, f"customers/{customer_id}/keys", {})
        yield Served(process=process, customer_id=customer_id, key=issued["key"].encode())
    finally:
        process.terminate()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_start(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/_tiergate/health", timeout=2):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.03)
    raise AssertionError(log.read_text())


def _ask(port: int, path: str, body: dict[str, str]) -> dict[str, str]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/_tiergate/admin/{path}",
        json.dumps(body).encode(),
        {"authorization": f"Bearer {ADMIN_TOKEN}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=_ASK_S) as answer:
        told: dict[str, str] = json.load(answer)
        return told
