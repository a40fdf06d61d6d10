"""Files that a policy names, as they are on the disk. Content is never shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

MAX_ATTACHMENT_BYTES = 1024 * 1024
"""A bundle of every public authority has a quarter of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """One named file as it was at one moment."""

    path: str
    """Absolute."""
    digest: str = field(repr=False)
    """SHA-256 of what it held; empty if it could not be read."""


def look_again(before: tuple[Attachment, ...]) -> tuple[Attachment, ...]:
    """The same files as they are now."""
    return tuple(read_named_file(one.path)[0] for one in before)


def read_named_file(path: str) -> tuple[Attachment, bytes | None, str]:
    """A file as it is now: what is remembered of it, its content, and if it has none what is wrong.

    Args:
        path: Absolute.

    Returns:
        What is wrong, in words that follow the file's name; empty if nothing is.
    """
    content, trouble = _read(path)
    digest = "" if content is None else sha256(content).hexdigest()
    return Attachment(path=path, digest=digest), content, trouble


def _read(path: str) -> tuple[bytes | None, str]:
    try:
        if not Path(path).is_file():
            return None, "is not a file" if Path(path).exists() else "does not exist"
        with Path(path).open("rb") as file:
            content = file.read(MAX_ATTACHMENT_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        return None, f"cannot be read: {reason}"
    if len(content) > MAX_ATTACHMENT_BYTES:
        return None, f"is larger than {MAX_ATTACHMENT_BYTES // 1024} KB"
    return content, ""
