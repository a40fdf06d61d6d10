"""What a call costs by what it asks for: a number in a header, the size of its body, something in its JSON.

Units are whole. Law: the price is known before anything is charged, or the most that it can be is
reserved; what the caller says is read in one way or refused, never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MOST_JSON_BYTES = 65_536
"""A body whose JSON is read for its price may not be larger: it has to be held whole before anything is charged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """Where the cost in one meter comes from."""

    meter: str
    source: Literal["header", "bytes", "json"]
    name: str = ""
    """The header's, lower case; or the way to a JSON member, with dots."""
    counts_items: bool = False
    """The JSON member is a list, and its length is the cost; else it is a number."""
    per_bytes: int = 1
    """Of bytes: how many make one unit; one that was begun counts."""
    at_most: int
    default: int | None = None
    """Units where the caller does not say. None: it has to."""

    @property
    def words(self) -> str:
        """What is read, for the caller."""
        if self.source == "bytes":
            return "the size of the request's body"
        if self.source == "header":
            return f"the {self.name!r} header"
        return f"the {'length of' if self.counts_items else 'number'} {self.name!r} in the JSON body"
