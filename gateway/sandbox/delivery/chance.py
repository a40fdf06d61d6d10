"""Chance that comes out the same again: a pure function of a seed and of what is decided.

Nothing depends on the order in which tasks happen to run: an attempt is drawn by the seed, its event's id,
its copy and its number, so a run that is repeated meets the same trouble.
"""

from __future__ import annotations

import random


def hits(share: float, *of: object) -> bool:
    """Whether this one of many is hit. `share` 0 never, 1 always; equal `of` are decided alike."""
    if share >= 1:
        return True
    return share > 0 and random.Random("/".join(map(str, of))).random() < share  # noqa: S311  # trouble, no secret
