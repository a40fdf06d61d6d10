"""A whole gateway in a process of its own, with a cache, a ledger and one customer with a key."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.cli.ports import free_port
from gateway.ledger import migrate
from tests.caches import opened_cache
from tests.fakes.serving import ADMIN_TOKEN, serving


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """It runs."""

    port: int
    customer_id: str
    key: bytes
    log: Path
    process: subprocess.Popen[bytes]
    cache_url: str
    ledger_file: Path


def policy_of(patterns: tuple[str, ...]) -> str:
    """A policy with those routes and no limits."""
    routes = "".join(f"  - match: {json.dumps(pattern)}\n" for pattern in patterns)
    return f"version: 1\ndefault_tier: plain\ntiers:\n  plain:\n    limits: unlimited\nplans: {{}}\nroutes:\n{routes}"


@contextmanager
def running_gateway(
    upstream_port: int,
    patterns: tuple[str, ...] = (),
    *,
    policy: str | None = None,
    workers: int | None = None,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Gateway]:
    """A gateway before an upstream on loopback.

    Args:
        upstream_port: Where calls go.
        patterns: Of a policy without limits.
        policy: The whole policy instead.
        workers: Processes under `tiergate serve`. None: one, under uvicorn's own command.
        settings: Environment variables beside the usual ones.
    """
    folder = Path(tempfile.mkdtemp(prefix="tg"))
    ledger_url = f"sqlite:///{folder / 'ledger.sqlite3'}"
    migrate(ledger_url)
    policies = folder / "policies"
    policies.mkdir()
    (policies / "policy.yaml").write_text(policy_of(patterns) if policy is None else policy)
    try:
        with opened_cache(folder) as cache_url:
            env = _environment(folder, cache_url, ledger_url, upstream_port) | dict(settings or {})
            with _process(folder, env, workers) as gateway:
                yield gateway
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _environment(folder: Path, cache_url: str, ledger_url: str, upstream_port: int) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("TIERGATE_", "STRIPE_"))}
    return inherited | {
        "STRIPE_SECRET_KEY": "sk_test_0123456789abcdefghijklmn",
        "STRIPE_WEBHOOK_SECRET": "whsec_0123456789abcdefghijklmnopqrstuv",
        "TIERGATE_STRIPE_URL": "http://127.0.0.1:9",  # nothing is billed here
        "TIERGATE_KEY_PEPPER": "a-pepper-that-is-long-enough-for-tests",
        "TIERGATE_ADMIN_TOKEN": ADMIN_TOKEN,
        "TIERGATE_SERVER_TOKEN": "server-0123456789abcdefghij",
        "TIERGATE_REDIS_URL": cache_url,
        "TIERGATE_LEDGER_URL": ledger_url,
        "TIERGATE_DATA_DIR": str(folder),
        "TIERGATE_POLICY_DIR": str(folder / "policies"),
        "TIERGATE_UPSTREAM_URL": f"http://127.0.0.1:{upstream_port}",
        "TIERGATE_CACHE_DEADLINE_MS": "5000",
        "TIERGATE_MAX_BODY_BYTES": "1000000",
        "TIERGATE_SHUTDOWN_GRACE_S": "1",
        "TIERGATE_DECISION_LOG": "none",
        "TIERGATE_LOG_LEVEL": "warning",
    }


@contextmanager
def _process(folder: Path, env: Mapping[str, str], workers: int | None) -> Iterator[Gateway]:
    port = free_port()
    log = folder / "gateway.log"
    if workers is None:
        command = [
            *(sys.executable, "-m", "uvicorn", "--factory", "gateway.app:create_app", "--host", "127.0.0.1", "--port"),
            *(str(port), "--http", "gateway.web.front:FrontProtocol", "--no-access-log"),
            *("--no-date-header", "--no-server-header", "--no-proxy-headers", "--timeout-graceful-shutdown", "1"),
            *("--log-level", "warning", "--ws", "gateway.web.websocket_protocol:FrontWebSocket"),
        ]
    else:
        command = [sys.executable, "-m", "gateway.cli", "serve", "--port", str(port), "--workers", str(workers)]
    with serving(command, env, port=port, folder=folder, log=log, user_id="fuzz") as served:
        yield Gateway(
            port=port,
            customer_id=served.customer_id,
            key=served.key,
            log=log,
            process=served.process,
            cache_url=env["TIERGATE_REDIS_URL"],
            ledger_file=folder / "ledger.sqlite3",
        )
