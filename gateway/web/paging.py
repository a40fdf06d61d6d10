"""How much of a list is asked for at once, and from where on."""

from __future__ import annotations

from typing import Annotated

from litestar.params import QueryParameter

from gateway.core.key_place import KEY_PLACE
from gateway.ledger import LAST_POSITION

_LARGEST_PAGE = 500

Limit = Annotated[int, QueryParameter(ge=1, le=_LARGEST_PAGE)]
KeyPlace = Annotated[str | None, QueryParameter(pattern=KEY_PLACE, max_length=80)]
Position = Annotated[int | None, QueryParameter(ge=1, le=LAST_POSITION)]
