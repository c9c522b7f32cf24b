"""Generation: batched equals alone, equals transformers' own; stops, sampling, sessions."""

from itertools import groupby

import pytest
import torch

from tests.families import FAMILIES, STATES, make_exact, tiny_model
from tunesmith.config import LoraSettings
from tunesmith.core.errors import TunesmithError
from tunesmith.core.progress import Cancelled
from tunesmith.engine.forward import Engine, prepare_
from tunesmith.generation.answer_text import cut_at_stop
from tunesmith.generation.decoder import ChatSession, Decoder, Prompt
from tunesmith.generation.loop import _groups, generate, like_lengths
from tunesmith.generation.sampling import Sampling, choose, generator_of
from tunesmith.methods import table

PROMPTS = [Prompt((5, 9, 44)), Prompt((71, 3, 90, 12, 33, 8, 60)), Prompt((5, 9, 44, 7))]


def answers(engine, prompts, **options):
    values = {"stop_ids": frozenset(), "sampling": Sampling(max_new_tokens=9), **options}
    made = sorted(generate(engine, prompts, **values), key=lambda a: a.row)
    return [a.ids for a in made]


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_answers_equal_transformers_one_by_one(family, monkeypatch):
    make_exact(monkeypatch)
    model = tiny_model(family)
    expected = []
    for prompt in PROMPTS:
        ids = list(prompt.ids)
        for _ in range(9):
            logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
            ids.append(int(logits.argmax()))
        expected.append(tuple(ids[len(prompt.ids) :]))
    assert answers(prepare_(tiny_model(family)), PROMPTS) == expected


def test_a_mixed_batch_equals_each_adapter_alone(monkeypatch):
    make_exact(monkeypatch)
    engine = prepare_(tiny_model("llama"))
    for i, name in enumerate("ab"):
        adapter = table.attach(engine, LoraSettings(rank=3), name=name)
        for parameter in adapter.parameters.values():
            parameter.data = parameter.data.double().normal_(
                0, 0.3, generator=torch.Generator().manual_seed(i)
            )
        adapter.refresh()
    mixed = [Prompt(PROMPTS[1].ids, name) for name in ("a", None, "b", "a")]
    together = answers(engine, mixed)
    assert together == [answers(engine, [prompt])[0] for prompt in mixed]
    assert len(set(together)) == 3


def test_more_prompts_than_slots_are_all_answered(monkeypatch):
    monkeypatch.setattr("tunesmith.generation.loop.SLOTS", 2)
    engine = prepare_(tiny_model("qwen3", torch.float32))
    assert answers(engine, PROMPTS) == [answers(engine, [prompt])[0] for prompt in PROMPTS]


def test_stop_tokens_and_stop_texts_end_an_answer():
    engine = prepare_(tiny_model("llama", torch.float32))
    (whole,) = answers(engine, PROMPTS[:1])
    token = whole[3]
    first = whole.index(token)
    (cut,) = answers(engine, PROMPTS[:1], stop_ids=frozenset({token}))
    assert cut == whole[:first]
    (made,) = generate(
        engine,
        PROMPTS[:1],
        stop_ids=frozenset(),
        sampling=Sampling(max_new_tokens=9, stop=(f"<{token}>",)),
        decode=lambda ids: "".join(f"<{i}>" for i in ids),
    )
    assert (made.ids, made.ended) == (whole[: first + 1], "stop")
    assert cut_at_stop("one two three", ["three", "two"]) == "one "


def test_sampling_is_the_seeds_and_does_not_depend_on_neighbours():
    engine = prepare_(tiny_model("llama"))
    warm = Sampling(temperature=1.5, max_new_tokens=9)
    one = answers(engine, PROMPTS, sampling=warm, seed=1)
    assert answers(engine, PROMPTS, sampling=warm, seed=1) == one
    assert answers(engine, PROMPTS, sampling=warm, seed=2) != one
    assert answers(engine, PROMPTS[:1], sampling=warm, seed=1) == one[:1]


def test_the_coldest_draw_is_the_likeliest_token():
    scores = torch.tensor([1.0, 3.0, 2.0])
    for cold in (Sampling(temperature=1e-36), Sampling(temperature=5e-324)):
        assert choose(scores, cold, generator_of(0, 0)) == 1
    assert choose(scores, Sampling(temperature=1.0, top_p=5e-324), generator_of(0, 0)) == 1


def test_top_p_keeps_the_smallest_set_that_reaches_it():
    scores = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    g = generator_of(0, 0)
    drawn = {choose(scores, Sampling(temperature=1.0, top_p=0.7), g) for _ in range(200)}
    assert drawn == {0, 1}
    assert {choose(scores, Sampling(temperature=1.0, top_p=0.1), g) for _ in range(50)} == {0}


@pytest.mark.parametrize("family", ["gemma2", *STATES])
def test_a_session_keeps_what_it_read_and_answers_as_if_it_read_all_anew(family, monkeypatch):
    make_exact(monkeypatch)
    engine = prepare_(tiny_model(family))
    session = ChatSession(engine, stop_ids=frozenset(), adapter=None, capacity=60)
    short = Sampling(max_new_tokens=5)
    first = list(PROMPTS[1].ids)
    one = list(session.stream(first, sampling=short, seed=0))
    longer = [*first, *one, 4, 8, 15]
    other = [*first, 16, 23]
    for ids in (longer, other, first):
        (expected,) = answers(engine, [Prompt(tuple(ids))], sampling=short)
        assert tuple(session.stream(ids, sampling=short, seed=0)) == expected
    with pytest.raises(TunesmithError, match="60"):
        list(session.stream([5] * 60, sampling=short, seed=0))


@pytest.mark.parametrize("family", STATES)
def test_a_session_returns_to_the_state_before_the_end_of_a_prompt(family, monkeypatch):
    """As a template asks for that writes an answer otherwise where it is history."""
    make_exact(monkeypatch)
    engine = prepare_(tiny_model(family))
    session = ChatSession(engine, stop_ids=frozenset(), adapter=None, capacity=90)
    short, read = Sampling(max_new_tokens=5), []
    hidden_states = Engine.hidden_states

    def counted(engine, batch):
        read.append(len(batch.ids))
        return hidden_states(engine, batch)

    first = list(range(3, 43))
    again = [*first[:-3], 7, 8, 9, 10, 11]  # differs after what is kept
    early = [*first[:20], *range(60, 84)]  # before it
    late = [*early[:-1], 5, 6]
    for ids, expected_reads in (
        (first, [24, 16]),
        (again, [2, 16]),
        (early, [28, 16]),
        (late, [1, 16]),
    ):
        (expected,) = answers(engine, [Prompt(tuple(ids))], sampling=short)
        read.clear()
        with monkeypatch.context() as counting:
            counting.setattr(Engine, "hidden_states", counted)
            assert tuple(session.stream(ids, sampling=short, seed=0)) == expected
        assert read[:2] == expected_reads


def test_a_draw_is_that_of_its_key_wherever_the_prompt_stands():
    engine = prepare_(tiny_model("llama"))
    warm = Sampling(temperature=1.5, max_new_tokens=9)
    keyed = [Prompt(PROMPTS[0].ids, draw=key) for key in (7, 8, 7)]
    one, other, same = answers(engine, keyed, sampling=warm)
    assert one == same != other


def test_what_prompts_begin_with_alike_is_read_once_and_fills_the_room_once(monkeypatch):
    monkeypatch.setattr("tunesmith.generation.loop.READ_TOKENS", 60)
    engine = prepare_(tiny_model("llama", torch.float32))
    begin = tuple(range(3, 43))
    prompts = [Prompt((*begin, 50 + i, 60 + i)) for i in range(8)]
    alone = [answers(engine, [prompt])[0] for prompt in prompts]
    read = []
    hidden_states = Engine.hidden_states

    def counted(engine, batch):
        read.append(len(batch.ids))
        return hidden_states(engine, batch)

    monkeypatch.setattr(Engine, "hidden_states", counted)
    assert answers(engine, prompts, sampling=Sampling(max_new_tokens=9)) == alone
    assert read[:2] == [len(begin), 2 * len(prompts)]
    assert max(read[2:]) == len(prompts)  # a token for each from there on


def test_prompts_of_several_adapters_share_no_room():
    ids = tuple(range(3, 1003))
    alike = {slot: Prompt(ids) for slot in range(6)}
    apart = {slot: Prompt(ids, str(slot)) for slot in range(6)}
    decoder = Decoder(prepare_(tiny_model("llama", torch.float32)), slots=1, capacity=1)
    found = [list(map(len, _groups(prompts, decoder))) for prompts in (alike, apart)]
    assert found == [[6], [2, 2, 2]]


def test_places_of_ended_answers_are_taken_while_others_go_on(monkeypatch):
    monkeypatch.setattr("tunesmith.generation.loop.SLOTS", 4)
    make_exact(monkeypatch)
    engine = prepare_(tiny_model("gemma2"))
    prompts = [Prompt((3 + i, 40 + i, *range(50, 50 + i % 5))) for i in range(14)]
    alone = [answers(engine, [prompt])[0] for prompt in prompts]
    stop_ids = frozenset(row[i % 9] for i, row in enumerate(alone))
    expected = [answers(engine, [prompt], stop_ids=stop_ids)[0] for prompt in prompts]
    assert len(set(map(len, expected))) > 3
    steps = []
    step = Decoder.step
    monkeypatch.setattr(Decoder, "step", lambda d, t: steps.append(list(t)) or step(d, t))
    assert answers(engine, prompts, stop_ids=stop_ids) == expected
    assert all(slots == list(range(len(slots))) for slots in steps)
    assert len(steps) < sum(map(len, expected))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_beginning_read_apart_changes_no_answer(family, monkeypatch):
    make_exact(monkeypatch)
    monkeypatch.setattr("tunesmith.generation.loop.SLOTS", 3)
    engine = prepare_(tiny_model(family))
    begin = tuple(range(3, 43))
    prompts = [Prompt((*begin, 50 + i, *range(60, 60 + i % 3))) for i in range(7)]
    alone = [answers(engine, [prompt])[0] for prompt in prompts]
    reads = []
    read = Decoder.read
    monkeypatch.setattr(Decoder, "read", lambda d, p: reads.append((d, p)) or read(d, p))
    assert answers(engine, prompts) == alone
    assert list(reads[0][1].values()) == [Prompt(begin)]
    assert {d.begun((None, "")) for d, _ in reads[1:]} == {len(begin)}


@pytest.mark.parametrize("slots", [3, 128])
def test_openings_of_one_adapter_are_each_read_once_and_change_no_answer(monkeypatch, slots):
    make_exact(monkeypatch)
    monkeypatch.setattr("tunesmith.generation.loop.SLOTS", slots)
    engine = prepare_(tiny_model("llama"))
    table.attach(engine, LoraSettings(rank=3), name="a")
    common = tuple(range(3, 20))  # both openings begin with it, which must not join them
    begins = {"one": (*common, *range(30, 60)), "two": (*common, *range(61, 95))}
    prompts = [
        Prompt((*begins[opening], 50 + i, 40), adapter, opening=opening)
        for i in range(3)
        for opening in begins
        for adapter in (None, "a")
    ]
    alone = [answers(engine, [prompt])[0] for prompt in prompts]
    begun, steps = [], []
    begin, step = Decoder.begin, Decoder.step
    monkeypatch.setattr(
        Decoder,
        "begin",
        lambda d, ids, group: begun.append((tuple(ids), group)) or begin(d, ids, group),
    )
    monkeypatch.setattr(
        Decoder, "step", lambda d, t: steps.append([d.adapters[s] for s in t]) or step(d, t)
    )
    assert answers(engine, prompts) == alone
    kins = [(adapter, opening) for adapter in (None, "a") for opening in begins]
    assert begun == [(begins[group[1]], group) for group in kins]
    # in a step each adapter's slots stand together
    assert all(len([*groupby(each)]) == len(set(each)) for each in steps)


def test_prompts_of_one_adapter_that_open_differently_are_read_together(monkeypatch):
    make_exact(monkeypatch)
    engine = prepare_(tiny_model("llama"))
    one, two = tuple(range(3, 40)), tuple(range(40, 77))
    prompts = {0: Prompt((*one, 80), opening="a"), 1: Prompt((*two, 81, 82), opening="b")}
    prompts[2] = Prompt((*one, 83), opening="a")
    alone = Decoder(engine, slots=3, capacity=40)
    expected = torch.cat([alone.read({slot: prompt}) for slot, prompt in prompts.items()])
    decoder = Decoder(engine, slots=3, capacity=40)
    decoder.begin(one, (None, "a"))
    decoder.begin(two, (None, "b"))
    torch.testing.assert_close(decoder.read(prompts), expected)


def test_a_prompt_without_room_for_more_ends_there():
    engine = prepare_(tiny_model("llama"))
    (whole,) = answers(engine, [PROMPTS[0]])
    rooms = [Prompt(PROMPTS[0].ids, limit=limit) for limit in (1, 4, 99)]
    assert answers(engine, rooms) == [whole[:1], whole[:4], whole]
    ended = [
        answer.ended
        for answer in generate(
            engine, rooms, stop_ids=frozenset(), sampling=Sampling(max_new_tokens=9)
        )
    ]
    assert ended == ["length"] * 3


def test_long_prompts_do_not_take_room_for_short_ones(monkeypatch):
    engine = prepare_(tiny_model("llama", torch.float32))
    prompts = [Prompt((3,) * n) for n in (5, 900, 7, 400, 500, 800)]
    assert list(like_lengths(engine, prompts)) == [[0, 2], [3, 4, 5], [1]]
    made = []
    cache = Engine.cache

    def noted(engine, slots, capacity):
        made.append((slots, capacity))
        return cache(engine, slots, capacity)

    monkeypatch.setattr(Engine, "cache", noted)
    monkeypatch.setattr("tunesmith.generation.loop.BEGIN_TOKENS", 10_000)
    monkeypatch.setattr("tunesmith.generation.loop.CACHE_BYTES", 2 * engine.cache_bytes(809))
    monkeypatch.setattr("tunesmith.generation.loop.CACHE_SHARE", 1 << 40)
    answers(engine, prompts)
    assert made == [(2, 16), (2, 809), (1, 909)]


def test_it_can_be_cancelled_between_two_steps_before_any_answer_ends():
    engine, prompts, asked = prepare_(tiny_model("llama")), [Prompt((5, 6, 7)), Prompt((5, 9))], []

    def check():
        asked.append(1)
        if len(asked) == 5:
            raise Cancelled

    sampling = Sampling(max_new_tokens=50)
    made = generate(engine, prompts, stop_ids=frozenset(), sampling=sampling, check=check)
    with pytest.raises(Cancelled):
        list(made)
    assert len(asked) == 5
