"""What the doctor says of a cache that is more than one server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.cli.findings import Finding, ok, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.cache.inspection import CacheReport


def judge_deployment(report: CacheReport) -> Iterator[Finding]:
    """Whether everyone whom the URL names is there."""
    if report.sentinels is not None:
        answering, named = report.sentinels
        if answering == named:
            yield ok("cache", f"named by sentinels: {named} of {named} answer")
        else:
            yield warn(
                "cache",
                f"{answering} of {named} sentinels answer",
                "Start the others, or take them out of TIERGATE_REDIS_URL: without a majority there is no fail-over.",
            )
