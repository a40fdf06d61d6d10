"""Files that a policy names: certificates, keys, values of header fields. Content is never shown.

A relative path starts at the directory of the policy file that names it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.policyfiles.shapes import shown

if TYPE_CHECKING:
    from gateway.policyfiles.document import Text
    from gateway.policyfiles.faults import FaultLog

MAX_ATTACHMENT_BYTES = 1024 * 1024
"""A bundle of every public authority has a quarter of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """One named file as it was at one moment."""

    path: str
    """Absolute."""
    digest: str = field(repr=False)
    """SHA-256 of what it held; empty if it could not be read."""


def read_attachment(text: Text, what: str, faults: FaultLog) -> tuple[str, bytes] | None:
    """Absolute path and content of a file that exists; None with a fault in words."""
    path = os.path.abspath(Path(text.place.file).parent / text.value)  # noqa: PTH100 - Path.absolute() keeps '..'
    content, trouble = _read(path)
    faults.attachments.append(_attachment(path, content))
    if content is None:
        faults.add(text.place, f"{what} ({shown(text.value)}, looked for beside this policy file) {trouble}")
        return None
    return path, content


def look_again(before: tuple[Attachment, ...]) -> tuple[Attachment, ...]:
    """The same files as they are now."""
    return tuple(_attachment(one.path, _read(one.path)[0]) for one in before)


def _attachment(path: str, content: bytes | None) -> Attachment:
    return Attachment(path=path, digest="" if content is None else sha256(content).hexdigest())


def _read(path: str) -> tuple[bytes | None, str]:
    """The content, or what is wrong, in words that follow the file's name."""
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
