"""The page of a card's bank on which the customer confirms a payment, or does not (3-D Secure), at /3ds/{id}.

Whoever sends a customer here says what either answer leads to; a question is answered once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response import Redirect

from gateway.sandbox.pages.card_form import read_fields
from gateway.sandbox.pages.render import message_page, render
from gateway.sandbox.simulator import Simulator

NOT_CONFIRMED = (
    "We are unable to authenticate your payment method. Please choose a different payment method and try again."
)
"""What Stripe's pages say then."""
Answer: TypeAlias = Callable[[], Response[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """`what` is to be confirmed, in words; then the page that follows."""

    what: str
    confirmed: Answer
    refused: Answer


class Bank:
    """The questions that were not answered yet."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._open: dict[str, Question] = {}

    def ask(self, question: Question) -> Response[Any]:
        """Send the customer to the bank's page."""
        question_id = self._simulator.world.new_id("3ds")
        self._open[question_id] = question
        return Redirect(f"/3ds/{question_id}", status_code=303)

    def handlers(self) -> list[HTTPRouteHandler]:
        """The page and its two buttons."""

        @get("/3ds/{question_id:str}")
        async def show(question_id: FromPath[str]) -> Response[Any]:
            question = self._open.get(question_id)
            return _answered() if question is None else render("challenge.html", what=question.what)

        @post("/3ds/{question_id:str}", status_code=303)
        async def answer(question_id: FromPath[str], request: Request[Any, Any, Any]) -> Response[Any]:
            is_confirmed = (await read_fields(request)).get("act") == "complete"
            self._simulator.catch_up()
            question = self._open.pop(question_id, None)
            if question is None:
                return _answered()
            return question.confirmed() if is_confirmed else question.refused()

        return [show, answer]


def _answered() -> Response[str]:
    return message_page("Nothing to confirm", "This was answered already, or was never asked.", status=404)
