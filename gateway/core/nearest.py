"""The name somebody probably meant."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def nearest_name(wrong: str, names: Iterable[str]) -> str | None:
    """The most similar of `names`, ignoring case; None if none is similar."""
    by_fold = {name.casefold(): name for name in names}
    found = get_close_matches(wrong[:200].casefold(), by_fold, n=1, cutoff=0.6)
    return by_fold[found[0]] if found else None
