"""schemathesis plays what the OpenAPI document allows, and what it forbids, against the billing and admin routes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.judges.ground import clean_environment, judge
from tests.web.conftest import ADMIN_TOKEN, SERVER_TOKEN, Gateway

pytestmark = [pytest.mark.judge, pytest.mark.timeout(300)]

EXAMPLES = 100
"""For each operation and phase."""
OF_TRACE = {"ST101", "ST204"}
"""TRACE is answered 501 before there is a route, as every method that is never forwarded: a server that
does not recognise a method says so (RFC 9110 section 15.6.2), and 405 would need an Allow field."""
BEYOND_A_SCHEMA = {"ST202"}
"""What a schema cannot say is refused with 400 or 422 and a reason: one of two fields, a plan that exists, a
limit in words, a control character in a path, a signature."""
PHASES = "examples,coverage,fuzzing,stateful"


def report_of(gateway: Gateway, credential: str, folder: Path) -> dict[str, Any]:
    """What schemathesis found with that token or key."""
    file = folder / "report.json"
    command = [judge("schemathesis"), "run", f"{gateway.url}/_tiergate/docs/openapi.json", "--url", gateway.url]
    command += ["--header", f"Authorization: Bearer {credential}", "--phases", PHASES]
    command += ["--max-examples", str(EXAMPLES), "--generation-deterministic", "--suppress-health-check", "all"]
    command += ["--report", "json", "--report-json-path", str(file), "--request-timeout", "30", "--no-color"]
    played = subprocess.run(command, cwd=folder, env=clean_environment(), capture_output=True, text=True, check=False)
    (folder / "report.txt").write_text(played.stdout)
    assert played.returncode in {0, 1}, played.stderr
    report: dict[str, Any] = json.loads(file.read_text())
    assert report["complete"]
    assert report["operations"]["tested"] == report["operations"]["total"]
    assert not report["errors"]
    return report


def findings(report: dict[str, Any]) -> list[tuple[str, str]]:
    """What is not answered above."""
    return [
        (failure["code"], operation)
        for failure in report["failures"]
        for operation in failure["operations"]
        if failure["code"] not in BEYOND_A_SCHEMA
        and not (failure["code"] in OF_TRACE and operation.startswith("TRACE "))
    ]


@pytest.mark.parametrize("who", ["admin", "server", "customer"])
def test_schemathesis_finds_nothing_that_is_not_answered(gateway, key, who, tmp_path):
    credential = {"admin": ADMIN_TOKEN, "server": SERVER_TOKEN, "customer": key}[who]
    report = report_of(gateway, credential, tmp_path)
    assert findings(report) == [], (tmp_path / "report.txt").read_text()
    assert report["test_cases"]["generated"] > 500
    assert gateway.browser().get("/_tiergate/health").status_code == 200
    assert "request crashed" not in gateway.log.read_text()
