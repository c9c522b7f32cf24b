"""Continuous batching: whoever joins or leaves, each answer is the one it would be alone."""

import random

import pytest
import torch

from tests.families import STATES, make_exact, tiny_model
from tests.variants import VARIANTS, attach
from tunesmith.core.errors import DataError, MemoryRefusal, TunesmithError
from tunesmith.engine.forward import Engine, prepare_
from tunesmith.generation.decoder import Prompt
from tunesmith.generation.loop import generate
from tunesmith.generation.request import AnswerEnd, AnswerRequest, Busy, MadeToken
from tunesmith.generation.sampling import Penalties, Sampling
from tunesmith.generation.scheduler import Limits, Scheduler
from tunesmith.generation.slot_memory import SlotMemory

CONTEXT = 96
KINDS = ("lora", "dora", "ia3", "prompt", "p-tuning")


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    make_exact(monkeypatch)
    monkeypatch.setattr("tunesmith.generation.slot_memory.MIN_CAPACITY", 8)
    monkeypatch.setattr("tunesmith.generation.slot_memory.MIN_KEPT", 6)
    monkeypatch.setattr("tunesmith.generation.scheduler.READ_TOKENS", 24)
    monkeypatch.setattr("tunesmith.generation.scheduler.FIRST_TOKENS", 2)


def scheduler_of(engine, *, positions=4 * CONTEXT, stop_ids=frozenset(), **limits):
    budget = engine.cache_bytes(1) * positions
    memory = SlotMemory(engine, budget=budget, context=CONTEXT)
    return Scheduler(engine, memory, stop_ids=stop_ids, limits=Limits(**limits))


def written(ids):
    return "".join(f"<{i}>" for i in ids)


def request(ids, adapter=None, *, limit=9, temperature=0.0, seed=0, **options):
    stop = tuple(options.pop("stop", ()))
    sampling = Sampling(temperature=temperature, max_new_tokens=limit, stop=stop)
    return AnswerRequest(Prompt(tuple(ids), adapter), sampling, written, seed=seed, **options)


class Answer:
    """A listener that collects what it hears."""

    def __init__(self):
        self.made, self.end = [], None

    def __call__(self, event):
        assert self.end is None, "nothing comes after the end"
        if isinstance(event, AnswerEnd):
            self.end = event
        else:
            assert isinstance(event, MadeToken)
            self.made.append(event)

    @property
    def ids(self):
        return tuple(each.token for each in self.made)

    @property
    def text(self):
        return "".join(each.text for each in self.made) + self.end.text


def run(scheduler, requests):
    answers = [Answer() for _ in requests]
    for each, answer in zip(requests, answers, strict=True):
        scheduler.submit(each, answer)
    while scheduler.advance():
        assert scheduler.memory.used <= scheduler.memory.budget
    return answers


def engine_with_adapters(folder, family="llama"):
    engine = prepare_(tiny_model(family))
    for number, name in enumerate(KINDS):
        adapter = attach(engine, name, folder, name=name)
        generator = torch.Generator().manual_seed(number)
        for parameter in adapter.trained.values():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.data = parameter.data.double().add_(0.3 * noise)
        adapter.refresh()
    return engine


def random_requests(rng, count, adapters=(None,)):
    """Prompts of several lengths, some of which begin alike; some answers are drawn."""
    begins = [[rng.randrange(3, 90) for _ in range(rng.choice([0, 9, 40]))] for _ in range(4)]
    for i in range(count):
        ids = [*rng.choice(begins), *(rng.randrange(3, 90) for _ in range(rng.randrange(1, 9)))]
        yield request(
            ids,
            rng.choice(adapters),
            limit=rng.choice([1, 5, 20]),
            temperature=rng.choice([0.0, 1.5]),
            seed=i,
        )


def alone(engine, each):
    made = generate(
        engine, [each.prompt], stop_ids=frozenset(), sampling=each.sampling, seed=each.seed
    )
    return next(iter(made)).ids


@pytest.mark.parametrize("seed", range(2))
def test_answers_do_not_depend_on_who_joins_and_leaves(seed, tmp_path):
    """Base, LoRA, DoRA, IA3, soft prompt and prefix in one batch, greedy and drawn."""
    rng = random.Random(seed)
    engine = engine_with_adapters(tmp_path)
    requests = list(random_requests(rng, 16, (None, *KINDS)))
    expected = [alone(engine, each) for each in requests]
    scheduler = scheduler_of(engine, rows=7)
    waiting, answers, left = list(requests), [], set()
    while waiting or scheduler.running or scheduler.waiting:
        for _ in range(rng.choice([0, 0, 1, 4])):
            if waiting:
                answers.append(Answer())
                job = scheduler.submit(waiting.pop(0), answers[-1])
                if rng.random() < 0.2:
                    left.add(len(answers) - 1)
                    answers[-1].job = job
        for i in left:
            if answers[i].end is None and len(answers[i].made) >= 2:
                answers[i].job.cancelled = True
        scheduler.advance()
        assert scheduler.memory.used <= scheduler.memory.budget
    for i, (answer, ids) in enumerate(zip(answers, expected, strict=True)):
        if answer.end.reason == "cancelled":
            assert i in left
            assert answer.ids == ids[: len(answer.ids)]
        else:
            assert answer.end.reason == "length"
            assert answer.ids == ids
    assert scheduler.counts.reused_tokens > 0


@pytest.mark.parametrize("family", ["gemma2", *STATES])
def test_every_kind_of_layer_answers_as_alone(family):
    engine = prepare_(tiny_model(family))
    requests = list(random_requests(random.Random(5), 10))
    answers = run(scheduler_of(engine, positions=8 * CONTEXT, rows=4), requests)
    assert [answer.ids for answer in answers] == [alone(engine, each) for each in requests]


def test_rows_that_are_put_back_for_memory_answer_the_same():
    engine = prepare_(tiny_model("llama"))
    requests = [request([3 + i, 40 + i, 7], limit=30, temperature=i % 2, seed=i) for i in range(4)]
    scheduler = scheduler_of(engine, positions=CONTEXT)
    answers = run(scheduler, requests)
    assert scheduler.counts.preempted > 0
    assert [answer.ids for answer in answers] == [alone(engine, each) for each in requests]


def test_a_device_without_memory_makes_it_smaller_and_loses_no_answer(monkeypatch):
    engine = prepare_(tiny_model("llama"))
    requests = [request([3 + i, 40 + i], limit=9) for i in range(4)]
    expected = [alone(engine, each) for each in requests]
    scheduler = scheduler_of(engine, positions=8 * CONTEXT)
    calls, hidden_states = [], Engine.hidden_states

    def failing(engine, batch):
        calls.append(1)
        if len(calls) == 5:
            raise torch.OutOfMemoryError
        return hidden_states(engine, batch)

    monkeypatch.setattr(Engine, "hidden_states", failing)
    before = scheduler.memory.budget
    assert [answer.ids for answer in run(scheduler, requests)] == expected
    assert scheduler.memory.budget < before
    calls[:] = [1] * 4
    (refused,) = run(scheduler, requests[:1])
    assert isinstance(refused.end.error, MemoryRefusal), "it was alone"


def test_a_slot_of_an_adapter_that_makes_no_numbers_serves_others(tmp_path, monkeypatch):
    monkeypatch.setattr("tunesmith.generation.slot_memory.MIN_CAPACITY", 32)
    engine = engine_with_adapters(tmp_path)
    requests = [request([5] * 20, limit=8), request([7, 9], limit=8)]
    expected = [alone(engine, each) for each in requests]
    for linear in engine.linears.values():
        if (term := linear.terms.get("lora")) is not None:
            term.b.data.fill_(torch.nan)
            term.refresh()
    scheduler = scheduler_of(engine)
    run(scheduler, [request([3] * 24, "lora"), request([4] * 24, "lora")])
    assert [answer.ids for answer in run(scheduler, requests)] == expected


def test_who_leaves_frees_the_row_before_the_next_step():
    engine = prepare_(tiny_model("llama"))
    scheduler = scheduler_of(engine)
    answers = [Answer(), Answer(), Answer()]
    jobs = [scheduler.submit(request([5, i], limit=50), a) for i, a in enumerate(answers, 3)]
    scheduler.advance()
    jobs[1].cancelled = True
    scheduler.advance()
    assert [job.row.prompt.ids for job in scheduler.running] == [(5, 3), (5, 5)]
    assert answers[1].end.reason == "cancelled"
    assert sum(len(pool.rows) for pool in scheduler.memory.pools.values()) == 2


def test_who_leaves_while_waiting_is_never_read():
    engine = prepare_(tiny_model("llama"))
    scheduler = scheduler_of(engine, rows=1)
    first, second = Answer(), Answer()
    scheduler.submit(request([5, 3]), first)
    scheduler.submit(request([5, 4]), second).cancelled = True
    while scheduler.advance():
        pass
    assert (second.end.reason, second.made) == ("cancelled", [])
    assert scheduler.counts.read_tokens == 2


def test_a_request_that_takes_too_long_ends_with_what_there_is(monkeypatch):
    engine = prepare_(tiny_model("llama"))
    scheduler = scheduler_of(engine, rows=1)
    running, waiting = Answer(), Answer()
    scheduler.submit(request([5, 3], limit=80, seconds=100), running)
    scheduler.submit(request([5, 3], seconds=100), waiting)
    for _ in range(3):
        scheduler.advance()
    now = scheduler.running[0].submitted + 101
    monkeypatch.setattr("tunesmith.generation.request.time.monotonic", lambda: now)
    scheduler.advance()
    assert (running.end.reason, waiting.end.reason) == ("timeout", "timeout")
    assert len(running.made) >= 3
    assert not scheduler.advance()


def test_what_was_read_before_is_not_read_again(tmp_path):
    engine = engine_with_adapters(tmp_path)
    scheduler = scheduler_of(engine, positions=8 * CONTEXT)
    system = list(range(3, 33))
    (first,) = run(scheduler, [request([*system, 40, 41])])
    before = scheduler.counts.read_tokens
    (second,) = run(scheduler, [request([*system, 50, 51, 52])])
    assert scheduler.counts.read_tokens - before == 3
    assert (first.end.reused, second.end.reused) == (0, len(system))
    (turn,) = run(scheduler, [request([*system, 50, 51, 52, *second.ids, 60])])
    assert turn.end.reused == len(system) + 3 + len(second.ids) - 1  # all but its last token
    lengths, hidden_states = [], Engine.hidden_states
    for adapter in ("prompt", "prompt"):
        lengths.append([])

        def counted(engine, batch, into=lengths[-1]):
            into.append(len(batch.ids))
            return hidden_states(engine, batch)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Engine, "hidden_states", counted)
            run(scheduler, [request([7, 8, 9], adapter, limit=9)])
    soft = engine.prefix_length("prompt")
    assert [each[0] for each in lengths] == [soft + 3, 1], "a soft prompt is read once"


def test_an_adapter_that_is_taken_off_leaves_nothing_behind():
    scheduler = scheduler_of(prepare_(tiny_model("llama")))
    run(scheduler, [request(range(3, 30))])
    assert len(scheduler.memory.kept) == 1
    scheduler.memory.kept[0].adapter = "a"
    scheduler.memory.forget("a")
    assert scheduler.memory.kept == []


def test_clients_take_turns():
    engine = prepare_(tiny_model("llama"))
    scheduler = scheduler_of(engine, rows=1)
    order = []
    for client, count in (("a", 3), ("b", 2), ("c", 1)):
        for _ in range(count):
            answer = Answer()
            answer.client = client

            def heard(event, client=client):
                if isinstance(event, AnswerEnd):
                    order.append(client)

            scheduler.submit(request([5, 6], limit=1, client=client), heard)
    while scheduler.advance():
        pass
    assert order == ["a", "b", "c", "a", "b", "a"]


def test_a_full_queue_refuses_with_a_time_to_try_again():
    scheduler = scheduler_of(prepare_(tiny_model("llama")), waiting=2)
    for _ in range(2):
        scheduler.submit(request([5]), Answer())
    with pytest.raises(Busy, match="2 requests wait") as busy:
        scheduler.submit(request([5]), Answer())
    assert 1 <= busy.value.seconds <= 60
    limited = scheduler_of(prepare_(tiny_model("llama")), per_client=1)
    limited.submit(request([5], client="a"), Answer())
    limited.submit(request([5], client="b"), Answer())
    with pytest.raises(Busy, match="This client has 1 request"):
        limited.submit(request([5], client="a"), Answer())


def test_what_cannot_fit_is_refused_and_the_rest_is_answered():
    engine = prepare_(tiny_model("llama"))
    scheduler = scheduler_of(engine, positions=30)
    assert scheduler.memory.longest == 30
    with pytest.raises(DataError, match="at most 29 leave room"):
        scheduler.submit(request([5] * 30), Answer())
    with pytest.raises(DataError, match="is empty"):
        scheduler.submit(request([]), Answer())
    long, short = run(scheduler, [request([5] * 20, limit=99), request([5, 6])])
    assert (len(long.made), long.end.reason) == (10, "length")
    assert short.ids == alone(engine, request([5, 6]))
    scheduler.memory.budget = 1
    (refused,) = run(scheduler, [request([7, 8])])
    assert isinstance(refused.end.error, MemoryRefusal)
    with pytest.raises(ValueError, match="less than"):
        scheduler_of(engine, positions=3)


def test_stop_tokens_and_stop_texts_end_an_answer():
    engine = prepare_(tiny_model("llama"))
    whole = alone(engine, request([5, 9, 44]))
    stopped = scheduler_of(engine, stop_ids=frozenset({whole[3]}))
    (answer,) = run(stopped, [request([5, 9, 44])])
    assert (answer.ids, answer.end.reason) == (whole[: whole.index(whole[3])], "stop")
    at = f"{whole[2]}><{whole[3]}"
    (answer,) = run(scheduler_of(engine), [request([5, 9, 44], stop=[at])])
    assert answer.text == written(whole)[: written(whole).index(at)]
    assert answer.end.reason == "stop"


def test_scores_are_the_logarithms_of_the_models_probabilities():
    model = tiny_model("llama")
    ids = [5, 9, 44]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
    logs = torch.log_softmax(logits.float(), -1)
    engine = prepare_(tiny_model("llama"))
    (answer,) = run(scheduler_of(engine), [request(ids, temperature=2.0, top_scores=3)])
    first = answer.made[0]
    assert first.score.value == pytest.approx(float(logs[first.token]), abs=1e-5)
    values, tokens = logs.topk(3)
    assert [token for token, _ in first.score.top] == tokens.tolist()
    assert [value for _, value in first.score.top] == pytest.approx(values.tolist(), abs=1e-5)


class Only:
    """Allows one token after another."""

    def __init__(self, *tokens):
        self.left, self.fault = list(tokens), None

    def allow(self, scores):
        allowed = torch.full_like(scores, -torch.inf)
        allowed[self.left[0]] = scores[self.left[0]]
        return allowed

    def accept(self, token):
        assert token == self.left.pop(0)
        self.fault = None if self.left else "no token is left"


def test_a_constraint_rules_its_own_row_only():
    engine = prepare_(tiny_model("llama"))
    bound = request([5, 9], limit=3, constraint=Only(11, 12, 13))
    free = request([5, 9], limit=3)
    answers = run(scheduler_of(engine), [bound, free])
    assert answers[0].ids == (11, 12)
    assert "no token is left" in answers[0].end.error.message
    assert answers[1].ids == alone(engine, free)


def test_the_variants_that_are_mixed_exist():
    assert set(KINDS) <= set(VARIANTS)


def test_a_row_without_a_distribution_ends_and_the_others_are_answered(monkeypatch):
    engine = prepare_(tiny_model("llama"))
    warm = [request([5, 9, i], temperature=1.0, seed=i) for i in (3, 4, 5)]
    scores, broken = Engine.scores, []

    def damaged(engine, hidden, adapters):
        found = scores(engine, hidden, adapters)
        if len(found) == 3 and not broken:
            broken.append(found[1].fill_(torch.nan))
        return found

    monkeypatch.setattr(Engine, "scores", damaged)
    answers = run(scheduler_of(engine), warm)
    assert [answer.end.reason for answer in answers] == ["length", "error", "length"]


def test_penalties_rule_their_own_row_only_and_outlive_being_put_back():
    """Greedy answers of a tiny model repeat themselves; with a penalty no token comes twice."""
    engine = prepare_(tiny_model("llama"))
    free = request([5, 9], limit=20)
    strict = request([5, 9], limit=20, penalties=Penalties(presence=2.0, frequency=50.0))
    both = request([5, 9], limit=20, penalties=Penalties(bias={7: 100.0}))
    (alone_strict,) = run(scheduler_of(engine), [strict])
    assert len(set(alone_strict.ids)) == 20
    scheduler = scheduler_of(engine, positions=CONTEXT)
    answers = run(scheduler, [free, strict, both])
    assert answers[0].ids == alone(engine, free)
    assert answers[1].ids == alone_strict.ids
    assert answers[2].ids == (7,) * 20


def test_a_failure_ends_all_answers_whatever_the_device_can_still_do(monkeypatch):
    scheduler = scheduler_of(prepare_(tiny_model("llama")), rows=2)
    answers = [Answer() for _ in range(3)]
    for number, answer in enumerate(answers):
        scheduler.submit(request([1, 2, 3 + number]), answer)
    scheduler.advance()
    assert len(scheduler.running) == 2

    def broken(*_, **__):
        raise RuntimeError("device-side assert")

    monkeypatch.setattr("tunesmith.generation.slot_memory.SlotMemory.free", broken)
    scheduler.fail(TunesmithError("The engine failed."))
    assert [answer.end.reason for answer in answers] == ["error"] * 3
    assert not scheduler.running
