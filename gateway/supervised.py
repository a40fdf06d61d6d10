"""What a supervising process tells those it starts, through their environment. No settings: nobody else sets them."""

from __future__ import annotations

import os
from pathlib import Path

PARENT_VARIABLE = "_TIERGATE_PARENT_PID"
RUN_VARIABLE = "_TIERGATE_RUN_DIR"
METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""The metrics library's own name for where processes share their metrics."""


def parent_pid() -> int | None:
    """Whose child this process is to be: when that has gone, it stops by itself. None: it stands alone."""
    text = os.environ.get(PARENT_VARIABLE)
    return None if text is None else int(text)


def run_directory() -> Path | None:
    """The directory that the workers of one run share. None: this process has no fellow workers."""
    text = os.environ.get(RUN_VARIABLE)
    return None if text is None else Path(text)
