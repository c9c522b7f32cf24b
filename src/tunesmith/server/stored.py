"""Responses that can be continued and read again: in memory, under a budget, each client's own."""

import json
from collections import OrderedDict
from dataclasses import dataclass

from tunesmith.server.documents import Document
from tunesmith.server.errors import ApiError

BUDGET_BYTES = 64 << 20  # of all that is kept; the oldest are forgotten first


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A response with the items that were said before it: those of earlier ones, then its own."""

    client: str
    earlier: tuple[Document, ...]
    items: tuple[Document, ...]
    document: Document

    @property
    def conversation(self) -> tuple[Document, ...]:
        """All that was said up to its end."""
        return (*self.earlier, *self.items, *self.document["output"])


class StoredResponses:
    """The latest responses; nothing of them is written anywhere."""

    def __init__(self, budget: int = BUDGET_BYTES) -> None:
        self._budget, self._used = budget, 0
        self._kept: OrderedDict[str, tuple[StoredResponse, int]] = OrderedDict()

    def keep(self, response: StoredResponse) -> None:
        """Keep a response, and forget the oldest ones where there is no room."""
        size = len(json.dumps([response.document, *response.earlier, *response.items]))
        self._kept[response.document["id"]] = response, size
        self._used += size
        while self._used > self._budget:
            _, (_, freed) = self._kept.popitem(last=False)
            self._used -= freed

    def get(self, name: str, client: str, *, param: str | None = None) -> StoredResponse:
        """A client's response; ApiError where there is none, or it is another client's."""
        found = self._kept.get(name)
        if found is None or found[0].client != client:
            is_previous = param is not None
            raise ApiError(
                f"There is no response {name[:100]!r} here. Responses are kept in memory, unless "
                "they are asked for with `store: false`, until newer ones need the room.",
                code="previous_response_not_found" if is_previous else "no_response",
                param=param,
            )
        return found[0]

    def forget(self, name: str, client: str) -> None:
        """Forget a response; raises as ``get`` does."""
        self.get(name, client)
        self._used -= self._kept.pop(name)[1]
