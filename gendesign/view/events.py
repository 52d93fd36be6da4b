"""Server-sent events: one stream for each tab, all with the same events."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

MOST_WAITING = 500  # events that a slow tab may be behind; it then loads everything anew
BEAT = 15.0  # seconds between signs of life, which notice closed tabs


class Events:
    """Hands every event to every open stream."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[str | None]] = set()

    def tell(self, name: str, content: Any) -> None:
        """Send an event to all tabs."""
        text = f"event: {name}\ndata: {json.dumps(content)}\n\n"
        for queue in list(self._queues):
            if queue.qsize() > MOST_WAITING:
                queue.put_nowait(None)
                self._queues.discard(queue)
            else:
                queue.put_nowait(text)

    def close(self) -> None:
        """End all streams."""
        for queue in self._queues:
            queue.put_nowait(None)

    async def stream(self) -> AsyncIterator[str]:
        """The text of a stream, until `close` or until its tab has gone."""
        queue: asyncio.Queue[str | None] = asyncio.Queue()
        self._queues.add(queue)
        try:
            yield "retry: 1000\n\n"
            while True:
                try:
                    text = await asyncio.wait_for(queue.get(), BEAT)
                except TimeoutError:
                    text = ": alive\n\n"
                if text is None:
                    return
                yield text
        finally:
            self._queues.discard(queue)
