"""Values under path patterns, found by path without trying every pattern.

A tree of path segments; each node remembers what ends there. Following a path visits at most
two children a segment (the literal and `*`), so the cost grows with the path, not with the
number of patterns. The obvious loop over all of them is the oracle in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")


@dataclass(slots=True)
class _Node(Generic[T]):
    literals: dict[str, _Node[T]] = field(default_factory=dict)
    any_one: _Node[T] | None = None
    here: list[T] = field(default_factory=list)
    """Values whose pattern ends exactly here."""
    below: list[T] = field(default_factory=list)
    """Values whose pattern ends here in `**`."""


class SegmentTree(Generic[T]):
    """Values under patterns; segments as in `core.route`."""

    __slots__ = ("_root",)

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()

    def insert(self, segments: Sequence[str], value: T) -> None:
        """Put `value` under a pattern; several may stand under one."""
        is_open = segments[-1:] == ("**",)
        node = self._root
        for segment in segments[:-1] if is_open else segments:
            if segment == "*":
                node.any_one = node = node.any_one or _Node()
            else:
                node = node.literals.setdefault(segment, _Node())
        (node.below if is_open else node.here).append(value)

    def covering(self, parts: Sequence[str], *, is_open: bool = False) -> list[T]:
        """What stands under a pattern that matches every path which another one matches, in no order.

        Args:
            parts: The other pattern's segments without `**`; those of a path are a pattern that matches it only.
            is_open: Whether the other pattern goes on with `**`. A path never does: in it, `**` is a name.
        """
        nodes = [self._root]
        found = list(self._root.below)
        for part in parts:
            following = []
            for node in nodes:
                literal = node.literals.get(part)
                if literal is not None:
                    following.append(literal)
                    found += literal.below
                if node.any_one is not None:
                    following.append(node.any_one)
                    found += node.any_one.below
            if not following:
                return found
            nodes = following
        if not is_open:
            for node in nodes:
                found += node.here
        return found
