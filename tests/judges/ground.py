"""What is judged: a gateway with every kind of route, and the API behind it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.optional import not_tested

ROOT = Path(__file__).parent.parent.parent
JUDGES = ROOT / ".venv-judges" / "bin"
MAX_BODY = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """The API behind the gateway. Its address is also the origin of pages that are not the gateway's."""

    url: str
    raw_url: str


@contextlib.contextmanager
def running_api() -> Iterator[Api]:
    """The API, in a process of its own, so that the gateway's memory is the gateway's."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.judges.upstream"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Api(**json.loads(process.stdout.readline()))
    finally:
        process.stdin.close()
        process.wait(15)
        process.stdout.close()


def policy(api: Api, *, default_tier: bool = True) -> str:
    """A route for each thing to be judged. Without a default tier whoever has not paid is told so."""
    return f"""\
version: 1
{"default_tier: free" if default_tier else ""}
tiers:
  free:
    limits: [10_000 per second burst 100_000, 1_000_000 requests per billing period]
  pro:
    features: [exports]
    limits: [10_000 per second burst 100_000, 1_000_000 requests per billing period]
plans:
  pro-monthly: {{tier: pro, price: lookup_key pro_monthly}}
upstreams:
  raw: {{servers: ["{api.raw_url}"]}}
cors:
  origins: ["{api.url}"]
  credentials: yes
routes:
  - match: "* /v1/exports/**"
    requires: exports
  - match: POST /v1/small
    max_body: {MAX_BODY}B
  - match: "* /v1/sink"
    max_body: 2GB
  - match: GET /v1/trailing
    upstream: raw
  - match: "* /v1/**"
  - match: "* /grpc/**"
  - match: "* /"
"""


def judge(name: str) -> str:
    """A program that `make judges` installed. Without it the test is skipped, loudly."""
    program = JUDGES / name
    if not program.exists():
        not_tested(f"with {name}", "not installed; `make judges` does")
    return str(program)


def tool(name: str, package: str) -> str:
    """A program of this machine. Without it the test is skipped, loudly."""
    program = shutil.which(name)
    if program is None:
        not_tested(f"with {name}", f"no {name} here (Debian: apt-get install {package})")
    return program


def resident_kb(process: subprocess.Popen[bytes]) -> int:
    """The memory of a process and its children, in KiB."""
    parent = psutil.Process(process.pid)
    return sum(each.memory_info().rss for each in [parent, *parent.children(recursive=True)]) // 1024


def clean_environment() -> dict[str, str]:
    """Nothing of the person's own that runs the tests."""
    unwanted = ("TIERGATE_", "STRIPE_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    return {name: value for name, value in os.environ.items() if not name.upper().startswith(unwanted)}
