"""What a caller is told when its call was let in although the cache could not decide."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.core.outage_policy import OutageMode

UNCHECKED: dict[OutageMode, bytes] = {
    "allow": b"The limits could not be checked. This call was let in without a count (when_cache_fails: allow).",
    "local": b"The limits could not be checked. This call was let in and counts later (when_cache_fails: local).",
}
"""Values of the field Tiergate-Warning."""

UNCHECKED_LINES = {mode: b"tiergate-warning: " + text for mode, text in UNCHECKED.items()}
"""The same as field lines."""
