"""Keys and values under a budget of bytes: slots of several sizes, and beginnings that are kept.

Every row has a slot with room for a little more than its text; a slot that is full is exchanged for
one of twice the size. A text that ended is kept for as long as nothing else needs its place: the
next prompt that begins alike (a system prompt, an earlier turn, an adapter's soft prompt) computes
only the rest.
"""

from collections.abc import Iterator, Sequence

from tunesmith.engine.forward import Engine
from tunesmith.generation.decoder import Beginning, common_length
from tunesmith.generation.running import Running, SlotPool

MIN_CAPACITY = 256  # positions of the smallest slots
MIN_KEPT = 32  # tokens of a common beginning that is worth another document's prefix
MAX_KEPT = 64  # texts that are kept: each is compared with every new prompt


class _KeptText:
    """A text whose keys and values are in a cache of its own."""

    def __init__(self, adapter: str | None, ids: Sequence[int], pool: SlotPool) -> None:
        self.adapter, self.ids, self.pool = adapter, tuple(ids), pool


class SlotMemory:
    """Where rows have their keys and values; never more than ``budget`` bytes in all.

    ``longest`` is the most positions that a row can have: at most the base's ``context``, and what
    the budget holds.
    """

    def __init__(self, engine: Engine, *, budget: int, context: int) -> None:
        """Raises ValueError for a budget without room for one of the smallest slots."""
        self.engine, self.budget = engine, budget
        self.pools: dict[int, SlotPool] = {}
        self.kept: list[_KeptText] = []  # the least recently used first
        self._fixed = engine.cache_bytes(0)  # of a slot, whatever its length
        self._per_position = engine.cache_bytes(1) - self._fixed
        low, high = min(MIN_CAPACITY, context), context
        if self.size(low) > budget:
            raise ValueError(
                f"{budget:,} bytes are less than {low} positions take: {self.size(low):,}"
            )
        while low < high:
            middle = (low + high + 1) // 2
            fits = self.size(middle) <= budget
            low, high = (middle, high) if fits else (low, middle - 1)
        self.longest = low

    def size(self, capacity: int) -> int:
        """Bytes of a slot of ``capacity`` positions."""
        return self._fixed + self._per_position * capacity

    @property
    def used(self) -> int:
        """Bytes of all slots, free ones included, and of what is kept."""
        pools = (*self.pools.values(), *(text.pool for text in self.kept))
        return sum(pool.slots * self.size(pool.capacity) for pool in pools)

    def place(self, row: Running, positions: int) -> bool:
        """Give a row a slot for so many positions or more; False where there is no room."""
        capacity = MIN_CAPACITY
        while capacity < positions:
            capacity *= 2
        capacity = min(capacity, self.longest)
        pool = self.pools.get(capacity)
        if pool is None:
            pool = self.pools[capacity] = SlotPool(self.engine, slots=0, capacity=capacity)
        if len(pool.rows) == pool.slots and not self._widen(pool):
            return False
        pool.add(row)
        return True

    def _widen(self, pool: SlotPool) -> bool:
        """Double the slots of a pool, or add as many as there is room for."""
        size = self.size(pool.capacity)
        more = max(1, min(pool.slots, (self.budget - self.used) // size))
        if not self._make_room(more * size, spare=pool):
            return False
        pool.decoder.resize_(pool.slots + more)
        return True

    def _make_room(self, size: int, *, spare: SlotPool | None = None) -> bool:
        """Drop what nobody needs until there is room for ``size`` bytes; whether there is."""
        while self.used + size > self.budget and self.kept:
            self.kept.pop(0)
        for pool in self.pools.values():
            if self.used + size > self.budget and pool is not spare and pool.slots > len(pool.rows):
                pool.decoder.resize_(len(pool.rows))
        return self.used + size <= self.budget

    def extend(self, row: Running) -> bool:
        """Move a row whose slot is full into a larger one; False where there is no room."""
        old, slot = row.pool, row.slot
        assert old is not None
        if not self.place(row, old.decoder.lengths[slot] + 1):
            return False
        new, to = row.pool, row.slot
        assert new is not None
        old.decoder.move(slot, to, other=new.decoder)
        row.slot = slot
        old.remove(row)
        row.pool, row.slot = new, to
        return True

    def free(self, row: Running, *, keep: bool) -> None:
        """Take a row out of its slot; ``keep`` its text for prompts that begin alike."""
        if row.pool is None:
            return
        if keep:
            self._keep(row)
        row.pool.remove(row)

    def _keep(self, row: Running) -> None:
        assert row.pool is not None
        adapter, ids = row.prompt.adapter, row.text[: row.read]
        length = row.pool.decoder.lengths[row.slot]
        if len(ids) < MIN_KEPT:
            return
        alike = [each for each in self.kept if each.adapter == adapter]
        if any(each.ids[: len(ids)] == ids for each in alike):
            return
        for each in alike:  # the longer text begins with it
            if ids[: len(each.ids)] == each.ids:
                self.kept.remove(each)
        while len(self.kept) >= MAX_KEPT:
            self.kept.pop(0)
        if self._make_room(self.size(length)):
            pool = SlotPool(self.engine, slots=1, capacity=length)
            row.pool.decoder.move(row.slot, 0, other=pool.decoder)
            self.kept.append(_KeptText(adapter, ids, pool))

    def beginning(self, adapter: str | None, ids: Sequence[int]) -> Beginning | None:
        """What of a prompt was read before, by a row that runs or one that is kept; None: too
        little. A base with recurrent states can begin with whole texts only.
        """
        before = self.engine.prefix_length(adapter)
        computed = self.engine.prefixes.get(adapter or "")
        least = 0 if computed is not None and computed.vectors is not None else MIN_KEPT
        found: tuple[int, SlotPool, int, _KeptText | None] | None = None
        for text, pool, slot, kept in self._texts(adapter):
            alike = common_length(text, ids[:-1])
            if alike < least or (self.engine.states and alike < len(text)):
                continue
            if found is None or alike > found[0]:
                found = alike, pool, slot, kept
        if found is None:
            return None
        alike, pool, slot, kept = found
        if kept is not None:  # the most recently used one is dropped last
            self.kept.remove(kept)
            self.kept.append(kept)
        return Beginning(pool.decoder.cache, alike, before + alike, slot)

    def _texts(
        self, adapter: str | None
    ) -> Iterator[tuple[Sequence[int], SlotPool, int, _KeptText | None]]:
        """Each text of an adapter that was read: its tokens, where it is, what keeps it."""
        for text in self.kept:
            if text.adapter == adapter:
                yield text.ids, text.pool, 0, text
        for pool in self.pools.values():
            for row in pool.rows:
                if row.prompt.adapter == adapter and row.token is not None:
                    yield row.text[: row.read], pool, row.slot, None

    def forget(self, adapter: str) -> None:
        """Drop the kept texts of an adapter, which is taken off the base."""
        self.kept = [text for text in self.kept if text.adapter != adapter]

    def clear(self) -> None:
        """Give all memory back; no row may be in a slot."""
        self.kept.clear()
        self.pools.clear()
