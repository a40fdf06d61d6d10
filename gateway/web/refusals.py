"""What the routes themselves refuse: who may ask, what was asked, and names that lead nowhere."""

from __future__ import annotations

from gateway.core.errors import Denied, Failed, Rejected, TiergateError


class NotAuthorized(Rejected):
    """No credentials, or credentials that this gateway did not give out."""

    code = "not-authorized"


class NotAllowed(Denied):
    """The caller is known and may not do this."""

    code = "not-allowed"


class RequestInvalid(Rejected):
    """A body, query or path that this route does not take.

    Args:
        message: One sentence.
        errors: What is wrong with which field, if that is known.
    """

    code = "invalid-request"

    def __init__(self, message: str, errors: tuple[dict[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.errors = errors


class NothingHere(Rejected):
    """A reserved path without a route."""

    code = "not-found"


class MethodNotAllowed(Rejected):
    """The path has a route, for other methods."""

    code = "method-not-allowed"


class CustomerNotFound(TiergateError):
    """Nobody has that customer id or `user_id`."""

    code = "customer-not-found"

    def __init__(self) -> None:
        super().__init__("There is no such customer.")


class UserTaken(TiergateError):
    """Another customer has that `user_id`."""

    code = "user-exists"


class EventNotFound(TiergateError):
    """The inbox has no such event (any more)."""

    code = "event-not-found"


class EventBusy(TiergateError):
    """A worker has the event just now."""

    code = "event-busy"


class DecisionNotFound(TiergateError):
    """There is no recent decision with that id, or it is about somebody else."""

    code = "decision-not-found"


class Conflict(TiergateError):
    """What was asked contradicts what is recorded."""

    code = "conflict"


class InternalError(Failed):
    """Something broke that should not. The log has it under the request id."""

    code = "internal-error"

    def __init__(self) -> None:
        super().__init__("Something broke here; it has been logged.")
