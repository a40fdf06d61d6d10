"""The gateway with short time-outs, also of those that no setting changes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gateway import app

if TYPE_CHECKING:
    from litestar import Litestar

SHORT_S = 1.0


def create_app() -> Litestar:
    made = app.create_app()
    made.state.front = replace(made.state.front, head_timeout_s=SHORT_S, body_timeout_s=SHORT_S)
    return made
