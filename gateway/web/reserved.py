"""Which paths are ours and which belong to the proxied API.

Ours are everything under `/_tiergate` and the exact billing paths. A path that only reads
like one of ours after decoding or in other letters is refused, so that no spelling of a
reserved path is ever forwarded and none reaches our routes by a second way.
"""

from __future__ import annotations

from urllib.parse import unquote

from gateway.core.errors import TargetRejected

OPERATIONS = "/_tiergate"
BILLING_ROUTES = (
    "create-checkout",
    "webhook",
    "plans",
    "portal-session",
    "subscription",
    "subscription/change",
    "statement",
    "spend-cap",
    "usage",
    "usage/history",
    "api-keys",
)


class ReservedPaths:
    """The reserved paths under one billing prefix."""

    def __init__(self, billing_prefix: str) -> None:
        self._billing = frozenset(f"{billing_prefix}/{route}" for route in BILLING_ROUTES)
        self._keys = f"{billing_prefix}/api-keys/"

    def owns(self, path: str) -> bool:
        """Whether `path` (canonical, undecoded) is served by this gateway itself.

        Raises:
            TargetRejected: It is another spelling of such a path.
        """
        if self._matches(path):
            return True
        if "%" in path or not path.islower():
            plain = unquote(path).casefold()
            if plain == OPERATIONS or plain.startswith(OPERATIONS + "/"):
                raise TargetRejected("This is another spelling of a reserved path.")
            if "%" in path and self._matches(unquote(path)):
                raise TargetRejected("This is another spelling of a reserved path.")
        return False

    def _matches(self, path: str) -> bool:
        return path == OPERATIONS or path.startswith((OPERATIONS + "/", self._keys)) or path in self._billing
