"""Does any passage of a store meet the conditions of a search?"""

import difflib

from tunesmith.errors import RagError
from tunesmith.rag.passage import Filter
from tunesmith.rag.store import Store


def require_passages(store: Store, where: Filter) -> None:
    """Raise RagError where no passage meets ``where``, with the condition that none meets.

    To search nothing would read as "the documents do not say".
    """
    if where.sql is None or store.count(where.sql):
        return
    for one in where.conditions:
        if not store.count(one.sql):
            raise RagError(f"No passage has {one}.", remedy=_near(store, one), code="filter")
    raise RagError(
        f"No passage has {where} together.", remedy="Leave one of them out.", code="filter"
    )


def _near(store: Store, one: Filter) -> str:
    if one.kind is not None:
        return f"The store has {', '.join(store.values('kind'))}."
    if one.page is not None:
        return "Only PDFs have pages, counted from 1."
    if one.heading is not None:
        return "It is a part of the heading path, and capitals count."
    sources = store.values("source")
    near = difflib.get_close_matches(one.source or "", sources, n=3, cutoff=0.4) or sources[:3]
    return f"There is {', '.join(near)}; * stands for any letters, as in source=*.pdf."
