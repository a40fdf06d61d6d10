"""What is wrong in policy files: every fault with its place, all of them at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gateway.core.nearest import nearest_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.policyfiles.named_files import Attachment


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where something stands. Lines and columns count from 1; line 0 means the file as a whole."""

    file: str
    line: int = 0
    column: int = 0
    source_line: str = ""
    """The text of that line, for people to look at."""

    def without_line(self) -> Place:
        """The same place for a fault about what may be a secret, so that its line is not shown."""
        return replace(self, source_line="")

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing to correct."""

    file: str
    line: int
    """From 1; 0 means the file or directory as a whole."""
    column: int
    message: str
    suggestion: str | None = None
    """What was probably meant."""
    source_line: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        hint = "" if self.suggestion is None else f"; did you mean {self.suggestion!r}?"
        return f"{place}: {self.message}{hint}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caution(Fault):
    """One thing to know: it is valid, and does what people may not expect."""

    @classmethod
    def at(cls, place: Place, message: str) -> Caution:
        """One about what is written there."""
        return cls(
            file=place.file, line=place.line, column=place.column, message=message, source_line=place.source_line
        )


class PolicyInvalid(ValueError):
    """The files do not add up to a policy. Nothing of them is used.

    Args:
        faults: Every fault found, ordered by file and line. At least one.
        attachments: Files that the policy files name, as they were.
    """

    def __init__(self, faults: tuple[Fault, ...], attachments: tuple[Attachment, ...] = ()) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults
        self.attachments = attachments


class FaultLog:
    """Collects faults while files are read, so that one run reports them all."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self.is_partial = False
        """A file could not be read at all: what others say about its names cannot be judged."""
        self.attachments: list[Attachment] = []
        """Files that were looked at because a policy file names them, whatever became of it."""

    def add(self, place: Place, message: str, *, suggestion: str | None = None) -> None:
        """Note one fault.

        Args:
            place: Where.
            message: What is wrong, and what was expected.
            suggestion: What was probably meant.
        """
        self._faults.append(
            Fault(
                file=place.file,
                line=place.line,
                column=place.column,
                message=message,
                suggestion=suggestion,
                source_line=place.source_line,
            )
        )

    def add_unknown(self, place: Place, message: str, wrong: str, names: Iterable[str]) -> None:
        """Note a name that does not exist, with the nearest of `names` that does."""
        self.add(place, message, suggestion=nearest_name(wrong, names))

    def extend(self, faults: Iterable[Fault]) -> None:
        """Take over faults found elsewhere."""
        self._faults.extend(faults)

    def raise_if_any(self) -> None:
        """Report.

        Raises:
            PolicyInvalid: At least one fault was noted.
        """
        if self._faults:
            ordered = sorted(set(self._faults), key=lambda fault: (fault.file, fault.line, fault.column, fault.message))
            raise PolicyInvalid(tuple(ordered), tuple(self.attachments))
