"""Which requests are answered now: they join and leave a running batch between two steps.

Continuous batching (Yu et al. 2022, Orca). Clients take turns, each one's requests in their order.
A request is admitted when there is room for its prompt and a little more; where a row needs more
than is left, the youngest one is put back and is read again later (recomputation, Kwon et al. 2023,
section 4.5), which changes no answer.
"""

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass

from torch import Tensor

from tunesmith.core.errors import DataError, TunesmithError
from tunesmith.core.numbers import pluralize
from tunesmith.engine.forward import Engine
from tunesmith.engine.memory import has_run_out, release
from tunesmith.generation.decoder import Prompt, PromptReading, read
from tunesmith.generation.request import (
    AnswerEnd,
    AnswerJob,
    AnswerRequest,
    Busy,
    Listener,
    MadeToken,
    TokenScore,
    job_of,
    no_memory,
    no_token,
    not_followed,
    score_of,
)
from tunesmith.generation.running import choose_tokens, step_rows
from tunesmith.generation.slot_memory import SlotMemory

READ_TOKENS = 512  # of prompts between two steps: so long do the rows that are answered wait
FIRST_TOKENS = 64  # of an answer that a slot has room for from the start
MAX_RETRY_SECONDS = 60
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """Rows that are answered at once; requests that may wait; those of a client, both together."""

    rows: int = 64
    waiting: int = 256
    per_client: int | None = None


@dataclass(slots=True)
class Counts:
    """What was done since the start."""

    read_tokens: int = 0
    reused_tokens: int = 0
    made_tokens: int = 0
    finished: int = 0
    preempted: int = 0
    steps: int = 0
    seconds: float = 0.0  # from admission to end, of all that finished


class Scheduler:
    """The requests that wait and the rows that are answered over one base.

    All but ``submit`` and what is set in a AnswerJob belongs to one thread.
    """

    def __init__(
        self, engine: Engine, memory: SlotMemory, *, stop_ids: frozenset[int], limits: Limits
    ) -> None:
        self.engine, self.memory, self.limits = engine, memory, limits
        self.stop_ids = stop_ids
        self.counts = Counts()
        self.running: list[AnswerJob] = []  # in the order of their admission
        self._returned: deque[AnswerJob] = deque()  # put back, to be read again
        self._queues: dict[str, deque[AnswerJob]] = {}  # by client; whose turn it is first
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._returned) + sum(map(len, self._queues.values()))

    def submit(self, request: AnswerRequest, listener: Listener) -> AnswerJob:
        """Take a request, from any thread; ``listener`` hears of it in the engine's thread.

        Raises Busy where too many wait, DataError for a prompt that is too long.
        """
        self._require_room(request.prompt)
        limits, job = self.limits, job_of(request, listener)
        with self._lock:
            queue = self._queues.get(request.client, ())
            mine = len(queue) + sum(j.request.client == request.client for j in [*self.running])
            if self.waiting >= limits.waiting:
                raise Busy(
                    f"{pluralize(self.waiting, 'request')} wait already.",
                    seconds=self.retry_seconds(),
                )
            if limits.per_client is not None and mine >= limits.per_client:
                raise Busy(
                    f"This client has {pluralize(mine, 'request')} here already.",
                    seconds=self.retry_seconds(),
                )
            self._queues.setdefault(request.client, deque()).append(job)
        return job

    def _require_room(self, prompt: Prompt) -> None:
        before, longest = self.engine.prefix_length(prompt.adapter), self.memory.longest
        if not prompt.ids:
            raise DataError("The prompt is empty.", remedy="Write something.", code="empty")
        if before + len(prompt.ids) >= longest:
            raise DataError(
                f"The prompt has {pluralize(len(prompt.ids), 'token')}, and at most "
                f"{longest - before - 1:,} leave room for an answer.",
                remedy="Shorten it.",
                code="too_long",
            )

    def retry_seconds(self) -> int:
        """When a place is likely to be free, by how long answers took so far."""
        done = self.counts.finished
        each = self.counts.seconds / done if done else 1.0
        rounds = 1 + self.waiting / self.limits.rows
        return max(1, min(MAX_RETRY_SECONDS, round(each * rounds)))

    def advance(self) -> bool:
        """One round: drop who has left, admit, read, and make a token for each row that was read.

        False where there is nothing to do.
        """
        self.drop()
        self._admit()
        try:
            self._read()
            self._step()
        except Exception as error:
            if not has_run_out(error):
                raise
            self._retreat()
        return bool(self.running) or self.waiting > 0

    def drop(self) -> None:
        """End what was cancelled or takes too long; its slot is free from now on."""
        with self._lock:
            for queue in (self._returned, *self._queues.values()):
                for job in [job for job in queue if job.cancelled or job.is_late]:
                    queue.remove(job)
                    job.listener(AnswerEnd("cancelled" if job.cancelled else "timeout"))
        for job in [job for job in self.running if job.cancelled or job.is_late]:
            self._end(job, "cancelled" if job.cancelled else "timeout")

    def _admit(self) -> None:
        while len(self.running) < self.limits.rows and (job := self._next()) is not None:
            row = job.row
            before = self.engine.prefix_length(row.prompt.adapter)
            needed = before + len(row.text) + FIRST_TOKENS
            if not self.memory.place(row, min(needed, self.memory.longest)):
                if self.running:
                    self._returned.appendleft(job)
                else:
                    job.listener(AnswerEnd("error", error=no_memory(needed)))
                return
            self.running.append(job)
            job.started = time.monotonic()

    def _next(self) -> AnswerJob | None:
        """Whose turn it is."""
        with self._lock:
            if self._returned:
                return self._returned.popleft()
            for client, queue in [*self._queues.items()]:
                del self._queues[client]
                if queue:
                    job = queue.popleft()
                    if queue:
                        self._queues[client] = queue  # last from now on
                    return job
        return None

    def _read(self) -> None:
        """Read prompts, of a long one a part."""
        new, room = list[tuple[AnswerJob, PromptReading]](), READ_TOKENS
        for job in [job for job in self.running if job.row.token is None]:
            if job.row.read:
                if not new:
                    self._continue(job)
                break
            reading = self._reading(job)
            rest = len(reading.prompt.ids) - (reading.after.tokens if reading.after else 0)
            if rest > room and new:
                break
            new.append((job, reading))
            room -= rest
        if not new:
            return
        scores = read(self.engine, [reading for _, reading in new])
        self.counts.read_tokens += READ_TOKENS - room
        complete = []
        for i, (job, reading) in enumerate(new):
            job.row.read = len(reading.prompt.ids)
            if job.row.read == len(job.row.text):
                complete.append(i)
        if complete:
            self._choose([new[i][0] for i in complete], scores[complete])

    def _reading(self, job: AnswerJob) -> PromptReading:
        """A whole prompt, or as much of a long one as is read at a time."""
        row = job.row
        assert row.pool is not None
        after = self.memory.beginning(row.prompt.adapter, row.text)
        begun = after.tokens if after else 0
        if not row.made:
            job.reused = begun
        self.counts.reused_tokens += begun
        part = Prompt(row.text[: begun + READ_TOKENS], row.prompt.adapter)
        return PromptReading(row.pool.decoder, row.slot, part, after)

    def _continue(self, job: AnswerJob) -> None:
        """Read the next part of a long prompt."""
        row = job.row
        assert row.pool is not None
        part = row.text[row.read : row.read + READ_TOKENS]
        scores = row.pool.decoder.extend(row.slot, part, kept=row.read)
        row.read += len(part)
        self.counts.read_tokens += len(part)
        if row.read == len(row.text):
            self._choose([job], scores)

    def _step(self) -> None:
        """One token more for each row that was read."""
        for job in [job for job in self.running if job.row.token is not None]:
            self._make_room(job)
        jobs = [job for job in self.running if job.row.token is not None]
        if not jobs:
            return
        jobs.sort(key=lambda job: job.row.prompt.adapter or "")
        scores = step_rows(self.engine, [job.row for job in jobs])
        self.counts.steps += 1
        for job in jobs:
            job.row.read += 1
        self._choose(jobs, scores)

    def _make_room(self, job: AnswerJob) -> None:
        """See that a row's slot has room for a token; the youngest rows are put back for it."""
        row = job.row
        while row.pool is not None and row.pool.decoder.lengths[row.slot] >= row.pool.capacity:
            if not self.memory.extend(row):
                self._put_back(self.running[-1])

    def _put_back(self, job: AnswerJob) -> None:
        self.memory.free(job.row, keep=False)
        job.row.token, job.row.read = None, 0
        self.running.remove(job)
        with self._lock:
            self._returned.appendleft(job)
        self.counts.preempted += 1

    def _retreat(self) -> None:
        """The device has no memory left: put everything back, and take less from now on.

        A row that was alone has no room at all.
        """
        used, largest = self.memory.used, max(self.memory.pools, default=0)
        if len(self.running) == 1:
            self._end(self.running[0], "error", no_memory(largest))
        for job in reversed([*self.running]):
            self._put_back(job)
        self.memory.clear()
        release(self.engine.device)
        half = min(self.memory.budget, used) // 2
        self.memory.budget = max(half, self.memory.size(largest))
        logger.warning("out of memory: keys and values get %d bytes now", self.memory.budget)

    def _choose(self, jobs: list[AnswerJob], scores: Tensor) -> None:
        try:
            chosen = choose_tokens(scores, [job.row for job in jobs])
        except Exception as error:
            if has_run_out(error):
                raise
            self._choose_apart(jobs, scores)
            return
        wanted = [i for i, job in enumerate(jobs) if job.request.top_scores is not None]
        found = {i: score_of(scores[i], chosen[i], jobs[i].request.top_scores or 0) for i in wanted}
        for i, (job, token) in enumerate(zip(jobs, chosen, strict=True)):
            self._take(job, token, found.get(i))

    def _choose_apart(self, jobs: list[AnswerJob], scores: Tensor) -> None:
        """One row's scores hold no distribution, such as NaN: the others are answered."""
        if len(jobs) == 1:
            logger.error("no token can be chosen from a row's scores; its request ends")
            self._end(jobs[0], "error", no_token())
            return
        for i, job in enumerate(jobs):
            self._choose([job], scores[i : i + 1])

    def _take(self, job: AnswerJob, token: int, score: TokenScore | None) -> None:
        """Report a token; end the row where it is the last."""
        row = job.row
        row.token = token
        if row.constraint is not None and row.constraint.fault is not None:
            self._end(job, "error", not_followed(row.constraint.fault))
            return
        if token in self.stop_ids:
            self._end(job, "stop")
            return
        row.made.append(token)
        self.counts.made_tokens += 1
        said = job.text.add(token)
        job.listener(MadeToken(token, said, score, job.text.thought))
        before = self.engine.prefix_length(row.prompt.adapter)
        limit = self.memory.longest - before - len(row.prompt.ids)
        limit = min(limit, row.sampling.max_new_tokens, row.prompt.limit or limit)
        if job.text.stopped:
            self._end(job, "stop")
        elif len(row.made) >= limit:
            self._end(job, "length")

    def _end(self, job: AnswerJob, reason: str, error: TunesmithError | None = None) -> None:
        self.memory.free(job.row, keep=job.row.token is not None and error is None)
        self.running.remove(job)
        self.counts.finished += 1
        self.counts.seconds += time.monotonic() - (job.started or job.submitted)
        job.end(reason, error)

    def fail(self, error: TunesmithError) -> None:
        """End everything, waiting or running, with an error."""
        failed, now = [*self.running], time.monotonic()
        self.running.clear()
        for job in failed:  # whatever the device can still do
            self.counts.finished += 1
            self.counts.seconds += now - (job.started or job.submitted)
            job.end("error", error)
        self.memory.clear()
        while (waiting := self._next()) is not None:
            waiting.listener(AnswerEnd("error", error=error))
