"""Every case, in the order of the themes."""

from __future__ import annotations

from tests.conformance.cases import (
    bodies,
    expect,
    fields,
    forwarding,
    framing,
    host,
    methods,
    pipelining,
    responses,
    slow,
    smuggling,
    targets,
    upgrade,
)

THEMES = (
    framing, bodies, host, targets, methods, fields, forwarding, expect, pipelining, smuggling, upgrade, responses, slow
)  # fmt: skip
CASES = tuple(case for theme in THEMES for case in theme.CASES)
