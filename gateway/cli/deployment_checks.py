"""What the doctor says of a cache that is more than one server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.cache import explain_trouble
from gateway.cli.findings import Finding, fail, ok, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.cache.inspection import CacheReport, ClusterReport

_SLOTS_FIX = "Give them to a server (valkey-cli --cluster fix). Until then the customers in them get 503."


def judge_deployment(report: CacheReport) -> Iterator[Finding]:
    """Whether everyone whom the URL names is there, and the URL is of the right kind."""
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
    elif report.mode == "cluster":
        yield fail(
            "cache",
            "this server is part of a cluster, and the URL is one of a single server",
            "Write redis+cluster:// and some of its servers into TIERGATE_REDIS_URL.",
        )


def judge_cluster(report: ClusterReport) -> Iterator[Finding]:
    """Whether every customer has a server, and every server somebody to take its place."""
    answering, named = report.named
    count = len(report.masters) + len(report.silent)
    yield ok("cache", f"a cluster of {count} masters; {answering} of the {named} servers in the URL answer")
    if report.silent:
        trouble = explain_trouble(report.why_silent)
        yield fail(
            "cache",
            f"these masters do not answer: {', '.join(report.silent)} ({trouble.what} {report.why_silent})",
            f"{trouble.fix} Start those that are down, or let replicas take over. Until then their customers get 503, "
            "and nobody else does.",
        )
    if report.uncovered:
        yield fail("cache", f"{report.uncovered} of 16,384 slots belong to no server", _SLOTS_FIX)
    if report.without_replica:
        yield warn(
            "cache",
            f"these masters have no replica: {', '.join(report.without_replica)}",
            "Add one to each: without it, a master that dies takes its customers with it until it is back.",
        )
