"""A client whose every command begins with ASKING: for keys that have moved ahead of their slot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


async def ask(client: Redis, operation: Callable[[Redis], Awaitable[T]]) -> T:
    """Do something with the server of a client, on one connection."""
    pool = client.connection_pool
    async with _AskingClient(connection_pool=pool, single_connection_client=True) as asking:
        return await operation(asking)


class _AskingClient(Redis):
    async def execute_command(self, *args: Any, **options: Any) -> Any:
        await super().execute_command("ASKING")  # type: ignore[no-untyped-call]
        return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:  # noqa: FBT001, FBT002 - redis-py's signature
        return _AskingPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class _AskingPipeline(Pipeline):
    def pipeline_execute_command(self, *args: Any, **options: Any) -> Pipeline:
        super().pipeline_execute_command("ASKING")  # type: ignore[no-untyped-call]
        super().pipeline_execute_command(*args, **options)  # type: ignore[no-untyped-call]
        return self

    async def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: FBT001, FBT002 - redis-py's signature
        return (await super().execute(raise_on_error))[1::2]
