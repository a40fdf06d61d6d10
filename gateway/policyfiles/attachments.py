"""Reading the files that a policy names: certificates, keys, values of header fields.

A relative path starts at the directory of the policy file that names it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.policyfiles.named_files import read_named_file
from gateway.policyfiles.shapes import shown

if TYPE_CHECKING:
    from gateway.policyfiles.document import Text
    from gateway.policyfiles.faults import FaultLog


def read_attachment(text: Text, what: str, faults: FaultLog) -> tuple[str, bytes] | None:
    """Absolute path and content of a file that exists; None with a fault in words."""
    path = os.path.abspath(Path(text.place.file).parent / text.value)  # noqa: PTH100 - Path.absolute() keeps '..'
    attachment, content, trouble = read_named_file(path)
    faults.attachments.append(attachment)
    if content is None:
        faults.add(text.place, f"{what} ({shown(text.value)}, looked for beside this policy file) {trouble}")
        return None
    return path, content
