"""Reading a policy directory: which files count, how large they may be. Bytes only, no YAML.

Files are taken in the order of their names. Hidden names are skipped, which covers editors'
lock files and the `..data` links of Kubernetes volumes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gateway.policyfiles.faults import Fault
from gateway.policyfiles.named_files import Attachment, look_again

if TYPE_CHECKING:
    from pathlib import Path

MAX_FILE_BYTES = 256 * 1024
"""A policy is written by people. Larger is a mistake, and would hold up every worker while it is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """One file as it was at one moment."""

    name: str
    """The path to show in faults."""
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """One reading of a directory. Two readings are equal if nothing changed between them."""

    files: tuple[SourceFile, ...]
    faults: tuple[Fault, ...]
    """Files that could not be read, and files that look like policies and are not."""
    attachments: tuple[Attachment, ...] = ()
    """Files that the policy names, as far as they are known before it is compiled."""


def read_sources(directory: Path, attachments: tuple[Attachment, ...] = ()) -> Sources:
    """Read every policy file of a directory. Never raises: what fails is in `faults`.

    Args:
        directory: Where they lie.
        attachments: Named by the content before, to be looked at again.
    """
    return replace(_read_directory(directory), attachments=look_again(attachments))


def _read_directory(directory: Path) -> Sources:
    try:
        paths = sorted(path for path in directory.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return Sources(files=(), faults=(_whole(directory, "there is no such directory"),))
    except OSError as error:
        return Sources(files=(), faults=(_whole(directory, f"cannot be read: {error.strerror}"),))
    files: list[SourceFile] = []
    faults: list[Fault] = []
    for path in paths:
        if path.suffix == ".yml":
            faults.append(_whole(path, "only *.yaml is read: rename it", suggestion=f"{path.stem}.yaml"))
        elif path.suffix == ".yaml":
            found = _read_file(path)
            if isinstance(found, Fault):
                faults.append(found)
            else:
                files.append(found)
    if not files and not faults:
        faults.append(_whole(directory, "holds no *.yaml file"))
    return Sources(files=tuple(files), faults=tuple(faults))


def _read_file(path: Path) -> SourceFile | Fault:
    try:
        if not path.is_file():
            return _whole(path, "is not a regular file")
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        return _whole(path, f"cannot be read: {error.strerror}")
    if len(content) > MAX_FILE_BYTES:
        return _whole(path, f"is larger than {MAX_FILE_BYTES // 1024} KB: split it into several files")
    return SourceFile(name=str(path), content=content)


def _whole(path: Path, message: str, *, suggestion: str | None = None) -> Fault:
    return Fault(file=str(path), line=0, column=0, message=message, suggestion=suggestion)
