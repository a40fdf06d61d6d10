"""The root of all errors."""

from __future__ import annotations

from typing import ClassVar


class TiergateError(Exception):
    """Root of everything this program raises on purpose.

    `str(error)` is one sentence for the caller: it holds no secret and no machine detail.
    """

    code: ClassVar[str]
