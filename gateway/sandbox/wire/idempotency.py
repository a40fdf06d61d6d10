"""Idempotency keys: the first answer is given again, for 24 hours.

An answer is kept only once the act has begun: a request that was refused for its parameters, its key or its
pace may be corrected and sent again under the same key. Source:
https://docs.stripe.com/api/idempotent_requests.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.sandbox.wire.form import Tree
from gateway.sandbox.wire.problems import StripeProblem

KEPT_S = 24 * 3600
_LONGEST_KEY = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswer:
    """What was asked under a key, and what was answered. `body` is JSON."""

    method: str
    path: str
    params: Tree
    status: int
    body: bytes
    request_id: str
    kept_at: int


class AnswerBook:
    """The answers that are kept, by key."""

    def __init__(self) -> None:
        self._answers: dict[str, KeptAnswer] = {}

    def find(self, key: str, method: str, path: str, params: Tree, now: int) -> KeptAnswer | None:
        """The answer to give again.

        Raises:
            StripeProblem: the key was used for something else, or is too long.
        """
        if len(key) > _LONGEST_KEY:
            raise StripeProblem(f"Keys for idempotent requests can be at most {_LONGEST_KEY} characters.")
        kept = self._answers.get(key)
        if kept is None or now - kept.kept_at > KEPT_S:
            return None
        if (kept.method, kept.path, kept.params) != (method, path, params):
            message = (
                "Keys for idempotent requests can only be used with the same parameters they were first used "
                f"with. Try using a key other than '{key}' if you meant to execute a different request."
            )
            raise StripeProblem(message, kind="idempotency_error")
        return kept

    def keep(self, key: str, answer: KeptAnswer) -> None:
        """Remember an answer; those that are out of date are forgotten."""
        self._answers[key] = answer
        for old, kept in list(self._answers.items()):
            if answer.kept_at - kept.kept_at <= KEPT_S:
                break
            del self._answers[old]
