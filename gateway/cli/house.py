"""A whole small world on this machine: sandbox Stripe, sample API, cache, ledger and gateway.

Every part is a real process on a free port, in one directory. `tiergate demo` lives in it,
and so do the tests that play a customer's life. Leaving the context stops everything.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from gateway.cli.part import STOP_TIMEOUT_S, Part
from gateway.cli.ports import free_port
from gateway.clock import write_clock_offset
from gateway.supervised import PARENT_VARIABLE

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For whoever calls a part of a house: nothing here speaks TLS, and to read all trusted certificates takes 18 ms."""
START_TIMEOUT_S = 60.0
_POLL_S = 0.05


class HouseBroken(Exception):
    """A part did not start or ended by itself. The message holds its last words."""


class House:
    """The processes of one demonstration.

    Args:
        directory: Holds data, clock and policies; must exist.
        policy_dir: Policies the gateway runs under.
        workers: Worker processes of the gateway.
        on_line: Called with each line that the gateway logs.
        settings: More or other `TIERGATE_*` variables for the gateway.
    """

    def __init__(
        self,
        directory: Path,
        *,
        policy_dir: Path,
        workers: int = 1,
        port: int = 0,
        on_line: Callable[[str], None] = lambda _: None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.policy_dir = policy_dir
        self.workers = workers
        self.clock_file = directory / "clock"
        self.admin_token = "admin-" + secrets.token_urlsafe(24)
        self.server_token = "server-" + secrets.token_urlsafe(24)
        self.port = port or free_port()
        self.stripe_url = ""
        self.upstream_url = ""
        self._stripe_key = ""
        self._webhook_secret = ""
        self._pepper = secrets.token_urlsafe(36)
        self._on_line = on_line
        self._settings = dict(settings or {})
        self._parts: dict[str, Part] = {}

    @property
    def url(self) -> str:
        """Where the gateway listens."""
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        """The gateway's settings, as a process of its own reads them; nothing of the caller's own."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("TIERGATE_", "STRIPE_"))}
        return inherited | {
            "STRIPE_SECRET_KEY": self._stripe_key,
            "STRIPE_WEBHOOK_SECRET": self._webhook_secret,
            "TIERGATE_STRIPE_URL": self.stripe_url,
            "TIERGATE_SIMULATED_CLOCK": str(self.clock_file),
            "TIERGATE_UPSTREAM_URL": self.upstream_url,
            "TIERGATE_PUBLIC_URL": self.url,
            "TIERGATE_KEY_PEPPER": self._pepper,
            "TIERGATE_ADMIN_TOKEN": self.admin_token,
            "TIERGATE_SERVER_TOKEN": self.server_token,
            "TIERGATE_DATA_DIR": str(self.directory / "data"),
            "TIERGATE_POLICY_DIR": str(self.policy_dir),
            "TIERGATE_HOST": "127.0.0.1",
            "TIERGATE_PORT": str(self.port),
            "TIERGATE_WORKERS": str(self.workers),
            "TIERGATE_SIGNUP": "open",
            "TIERGATE_DECISION_LOG": "all",
            "TIERGATE_LOG_FORMAT": "json",
            "TIERGATE_CACHE_DEADLINE_MS": "1000",
            "TIERGATE_SETTLE_INTERVAL_S": "0.5",
            "TIERGATE_SHUTDOWN_GRACE_S": "5",
            **self._settings,
        }

    def start(self) -> None:
        """Start every part and wait until the gateway is ready.

        Raises:
            HouseBroken: A part did not come up.
        """
        write_clock_offset(self.clock_file, 0.0)
        self.start_sandbox()
        self.start_gateway()

    def start_sandbox(self) -> None:
        """Start the Stripe simulator and the sample API, with prices, and register the gateway's webhook."""
        command = ["-m", "gateway.sandbox", "--stripe-port", "0", "--upstream-port", "0"]
        part = self._spawn(
            "sandbox",
            [*command, "--clock-file", str(self.clock_file), "--seed"],
            dict(os.environ),
            subprocess.PIPE,
        )
        line = part.process.stdout.readline() if part.process.stdout is not None else ""
        if not line:
            raise HouseBroken(f"the sandbox did not start:\n{part.last_words()}")
        told = json.loads(line)
        self.stripe_url, self.upstream_url = told["stripe_url"], told["upstream_url"]
        self._stripe_key = told["key"]
        endpoint = self.stripe(
            "POST", "/v1/webhook_endpoints", {"url": f"{self.url}/api/v1/webhook", "enabled_events[0]": "*"}
        )
        self._webhook_secret = endpoint["secret"]

    def start_gateway(self) -> None:
        """Start the gateway and wait until it answers that it is ready."""
        told = self.environment() | {PARENT_VARIABLE: str(os.getpid())}  # so that it does not outlive us
        part = self._spawn("gateway", ["-m", "gateway.cli", "serve"], told, subprocess.DEVNULL)
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if part.process.poll() is not None:
                raise HouseBroken(f"the gateway stopped at its start:\n{part.last_words()}")
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/_tiergate/ready", timeout=2, verify=NO_TLS).status_code == httpx.codes.OK:
                    return
            time.sleep(_POLL_S)
        raise HouseBroken(f"the gateway was not ready after {START_TIMEOUT_S:.0f} s:\n{part.last_words()}")

    def kill_gateway(self) -> None:
        """SIGKILL the gateway's parent process, as a crash would; its children must end by themselves.

        Raises:
            HouseBroken: Somebody still listens after a while.
        """
        part = self._parts.pop("gateway")
        part.process.send_signal(signal.SIGKILL)
        part.process.wait(STOP_TIMEOUT_S)
        part.close()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)):
                    return
            time.sleep(_POLL_S)
        raise HouseBroken("the killed gateway's workers did not end")

    def stop(self) -> None:
        """Stop every part that still runs, the gateway first."""
        for name in ("gateway", "sandbox"):
            part = self._parts.pop(name, None)
            if part is not None:
                part.stop()

    def pids(self) -> dict[str, int]:
        """Process ids of the running parts."""
        return {name: part.process.pid for name, part in self._parts.items()}

    def last_words(self, name: str) -> str:
        """The end of what a part wrote to its standard error."""
        return self._parts[name].last_words() if name in self._parts else "(it is not running)"

    def failed_part(self) -> str | None:
        """Name and last words of a part that ended by itself."""
        for name, part in self._parts.items():
            if part.process.poll() is not None:
                return f"{name} ended with code {part.process.returncode}:\n{part.last_words()}"
        return None

    def stripe(self, method: str, path: str, form: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Call the simulator as Stripe's API or as its control API (`/_sandbox/...`, JSON)."""
        body: dict[str, Any] = (
            {"json": dict(form or {})} if path.startswith("/_sandbox") else {"data": dict(form or {})}
        )
        response = httpx.request(
            method,
            self.stripe_url + path,
            headers={"authorization": f"Bearer {self._stripe_key}"},
            timeout=30,
            verify=NO_TLS,
            **(body if method != "GET" else {"params": dict(form or {})}),
        )
        response.raise_for_status()
        answer: dict[str, Any] = response.json()
        return answer

    def admin(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Call the gateway's admin API."""
        response = httpx.request(
            method,
            f"{self.url}/_tiergate/admin/{path}",
            headers={"authorization": f"Bearer {self.admin_token}"},
            timeout=30,
            verify=NO_TLS,
            **options,
        )
        answer: dict[str, Any] = response.raise_for_status().json()
        return answer

    def resend_events_reversed_twice(self) -> int:
        """Deliver every event so far twice more, the newest first, and have each worked on again. Returns how many.

        Call it when `inbox_is_worked_off`: the gateway does not replay what one of its workers has just now.
        """
        page = self.admin("GET", "events", params={"limit": 500})["events"]
        for event in page:  # newest first
            for _ in range(2):
                self.stripe("POST", f"/_sandbox/events/{event['event_id']}/resend")
            self.admin("POST", f"events/{event['event_id']}/replay")
        self.stripe("POST", "/_sandbox/deliveries/drain")
        return len(page)

    def inbox_is_worked_off(self) -> bool:
        """Whether no event waits for its work."""
        counts = self.admin("GET", "events", params={"limit": 1})["counts"]
        return not (counts.get("pending") or counts.get("claimed"))

    def _spawn(self, name: str, arguments: list[str], env: dict[str, str], stdout: int) -> Part:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and modules
            [sys.executable, *arguments],
            env=env,
            cwd=self.directory,
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        part = Part(name, process)
        self._parts[name] = part
        part.reader = threading.Thread(target=self._read, args=(part,), daemon=True)
        part.reader.start()
        return part

    def _read(self, part: Part) -> None:
        if part.process.stderr is None:
            return
        for line in part.process.stderr:
            part.tail.append(line.rstrip())
            del part.tail[:-200]
            if part.name == "gateway":
                with contextlib.suppress(OSError):  # nobody listens any more; the pipe must be read all the same
                    self._on_line(line.rstrip())


@contextlib.contextmanager
def temporary_house_directory() -> Iterator[Path]:
    """A fresh directory that is removed at the end."""
    directory = Path(tempfile.mkdtemp(prefix="tiergate-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def example_policies() -> Path:
    """The shipped example policies: of the source tree, or of the installed package."""
    package = Path(__file__).resolve().parent.parent
    shipped = package / "example_policies"
    return shipped if shipped.is_dir() else package.parent / "policies"
