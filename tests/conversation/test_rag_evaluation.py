import json
from dataclasses import replace

import pytest

from tests.conversation.retrieving import NAMES, fact_store, facts_file
from tests.report.test_run_page import Page
from tests.retrieval.toy import ToyEmbedder
from tests.runs.tiny import base_folder
from tunesmith.adapters import store as adapters
from tunesmith.adapters.loaded_base import open_base
from tunesmith.config.methods import LoraSettings
from tunesmith.conversation import documents as documents_module
from tunesmith.conversation.ask import sources_prompt
from tunesmith.conversation.cases import (
    find_all,
    items_of,
    prompts_with,
    prompts_without,
    retrieval_scores,
)
from tunesmith.conversation.questions import read_questions
from tunesmith.conversation.rag_evaluation import TrialSettings, evaluate_retrieval
from tunesmith.core import progress
from tunesmith.core.errors import RagError
from tunesmith.core.progress import Cancelled, Progress
from tunesmith.data.thinking import text_of
from tunesmith.evaluation import score_cache
from tunesmith.evaluation.retrieval_gain import EFFECTS
from tunesmith.generation.decoder import ChatSession
from tunesmith.generation.sampling import Sampling
from tunesmith.methods import table
from tunesmith.report.rag_page import rag_page
from tunesmith.retrieval.questions import RetrievalQuestion

pytest.importorskip("lancedb", reason="the extra `rag` is not installed")
SHORT = TrialSettings(sources=3, max_new_tokens=4, threshold=2.0)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trial")
    store, model = fact_store(folder)
    base = base_folder(folder / "base", max_position_embeddings=2048)
    return store, model, base, read_questions(str(facts_file(folder / "facts.jsonl")))


@pytest.fixture(scope="module")
def adapter(places, tmp_path_factory):
    """A LoRA's folder, not yet trained."""
    folder = tmp_path_factory.mktemp("lora") / "adapter"
    loaded = open_base(str(places[2]))
    made = table.attach(loaded.engine, LoraSettings(rank=2), name="a")
    adapters.save(folder, made, loaded.engine, base=str(places[2]))
    return str(folder)


@pytest.fixture
def evaluate(places, monkeypatch, tmp_path):
    store, model, base, questions = places
    monkeypatch.setattr(documents_module, "load_embedder", lambda *_, **__: ToyEmbedder(model))

    def go(questions=questions, adapter=None, out="out", **changes):
        participants = (str(base), adapter)
        return evaluate_retrieval(
            questions, store, tmp_path / out, participants=participants, settings=SHORT, **changes
        )

    return go


@pytest.fixture
def found(places, monkeypatch):
    store, model, _, questions = places
    monkeypatch.setattr(documents_module, "load_embedder", lambda *_, **__: ToyEmbedder(model))
    return find_all(*documents_module.open_documents(store), questions, limit=3)


def test_every_retriever_is_scored_by_the_passages_that_answer(found):
    names = ("recall_at_1", "recall_at_5", "mrr", "ndcg_at_10")
    for mode in ("text", "hybrid"):
        assert retrieval_scores(found, mode) == dict.fromkeys(names, 1.0)
    ranks = [
        next(i for i, hit in enumerate(each.hits["dense"], 1) if hit.passage in each.known.right)
        for each in found
    ]
    scores = retrieval_scores(found, "dense")
    assert scores["recall_at_1"] == pytest.approx(ranks.count(1) / len(ranks))
    assert scores["mrr"] == pytest.approx(sum(1 / rank for rank in ranks) / len(ranks))


def test_what_the_store_lacks_is_missed(places, found):
    missing = find_all_of(places, [RetrievalQuestion("Who owns the moon?", ("nobody at all",))])
    assert retrieval_scores([*found, *missing], "text")["mrr"] == pytest.approx(20 / 21)
    assert retrieval_scores([], "text")["mrr"] is None


def find_all_of(places, questions):
    return find_all(*documents_module.open_documents(places[0]), questions, limit=3)


def test_some_are_asked_again_without_what_answers_them(found):
    items = items_of(found, mode="hybrid", limit=3, removed=0.25, seed=0)
    again = items[len(found) :]
    assert len(again) == 5
    for item in items[: len(found)]:
        assert item.hits[0].passage.id in item.right
    for item in again:
        assert item.answers == ()
        assert len(item.hits) == 3
        assert not {hit.passage.id for hit in item.hits} & item.right
    assert items == items_of(found, mode="hybrid", limit=3, removed=0.25, seed=0)


def test_fewer_sources_do_not_change_how_sure_retrieval_is(found):
    few, many = (items_of(found, mode="hybrid", limit=n, removed=0.25, seed=0) for n in (1, 3))
    assert [item.confidence for item in few] == [item.confidence for item in many]
    assert [item.hits for item in few] == [item.hits[:1] for item in many]


def test_both_cells_of_a_model_are_asked_the_same_questions(places, found):
    loaded = open_base(str(places[2]), dtype="float32")
    ask = sources_prompt(loaded.base.tokenizer, max_tokens=1500)
    items = items_of(found, mode="hybrid", limit=3, removed=0.25, seed=0)
    with_sources = list(prompts_with(items, ask, adapter=None, opening="a"))
    alone = list(prompts_without(items, ask, adapter=None, opening="b"))
    decode = loaded.base.tokenizer.decode
    for item, (case, prompt), (plain, short) in zip(items, with_sources, alone, strict=True):
        assert case.answers == plain.answers == item.answers
        assert case.right == (frozenset({1}) if item.answers else frozenset())
        assert len(case.sources) == 3
        assert plain.sources == ()
        assert len(short.ids) < len(prompt.ids)
        assert decode(short.ids).count("user") == 1


def test_the_document_the_page_and_the_answers_agree(evaluate, tmp_path, places):
    document = evaluate()
    assert document["cells"].keys() == {"base", "tuned", "base_rag", "tuned_rag"}
    assert document["cells"]["tuned"] is document["cells"]["tuned_rag"] is None
    assert document["effects"].keys() == {"retrieval"}
    assert document["retrieval"]["hybrid"]["recall_at_1"] == 1
    assert (document["questions"], document["unanswerable"]) == (2 * len(NAMES), 6)
    keys = {"exact_match", "f1", "low", "high", "refusal"}
    assert keys <= document["cells"]["base_rag"].keys()
    served = document["cells"]["base_rag"]["with_threshold"]  # above what any confidence reaches
    assert (served["refusal"], served["false_refusal"]) == (1, 1)
    fitted = document["fitted_threshold"]
    assert fitted["false_refusals"] <= 0.1
    assert 0 <= fitted["refusals"] <= 1
    out = tmp_path / "out"
    assert json.loads((out / "evaluation.json").read_text()) == document
    assert document["report"] == str(out / "report.html")
    page = Page(rag_page(document, name="out"))
    assert document["effects"]["retrieval"]["text"] in page.text
    assert f"a threshold of {fitted['score']:.2f} would refuse" in page.text
    rows = [json.loads(line) for line in (out / "answers.jsonl").read_text().splitlines()]
    assert len(rows) == 2 * len(NAMES) + 6
    assert rows[0]["said"].keys() == {"base", "base_rag"}
    ranks = [row["ranks"]["dense"] for row in rows if row["ranks"] is not None]
    assert len(ranks) == 2 * len(NAMES)
    mrr = sum(1 / rank for rank in ranks) / len(ranks)
    assert document["retrieval"]["dense"]["mrr"] == pytest.approx(mrr)
    for row in rows:
        assert bool(row["right"]) == bool(row["answers"])
    assert document["no_passage_lines"] == []


def test_questions_that_the_store_does_not_answer_are_told_by_line(evaluate, places, tmp_path):
    lost = replace(places[3][0], source="gone.txt", line=77)
    document = evaluate(questions=[*places[3][1:], lost])
    assert (document["no_passage"], document["no_source_lines"]) == (1, [77])
    assert document["no_passage_lines"] == []
    rows = (tmp_path / "out" / "answers.jsonl").read_text().splitlines()
    row = next(row for row in map(json.loads, rows) if row["line"] == 77)
    assert row["ranks"] == dict.fromkeys(("dense", "text", "hybrid"))


def test_answers_are_those_of_the_model_alone(evaluate, places, tmp_path):
    evaluate()
    row = json.loads((tmp_path / "out" / "answers.jsonl").read_text().splitlines()[0])
    loaded = open_base(str(places[2]))
    found = find_all_of(places, places[3][:1])
    items = items_of(found, mode="hybrid", limit=3, removed=0, seed=0)
    ask = sources_prompt(loaded.base.tokenizer, max_tokens=1500)
    ((_, prompt),) = prompts_with(items, ask, adapter=None, opening="x")
    session = ChatSession(loaded.engine, stop_ids=loaded.base.stop_ids, adapter=None, capacity=2048)
    sampling = Sampling(max_new_tokens=4)
    ids = list(session.stream(list(prompt.ids), sampling=sampling, seed=0))
    assert row["said"]["base_rag"] == text_of(loaded.base.tokenizer, ids).strip()


def test_a_stop_keeps_the_answers_and_the_next_call_goes_on(
    evaluate, adapter, monkeypatch, tmp_path
):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_REPORTS", -1.0)
    whole = evaluate(adapter=adapter, out="whole")
    monkeypatch.setattr(score_cache, "cache_root", lambda: tmp_path / "another")
    told = []

    def stop():
        return any(e.phase.endswith("the base with sources") and e.done >= 3 for e in told)

    with pytest.raises(Cancelled):
        evaluate(adapter=adapter, progress=Progress(told.append, cancelled=stop))
    again = []
    there = evaluate(adapter=adapter, progress=Progress(again.append))
    assert {**there, "report": whole["report"]} == whole
    first = {}
    for event in again:
        first.setdefault(event.phase.removeprefix("answering: "), event.done)
    assert first["the base without sources"] == 2 * len(NAMES) + 6
    assert first["the base with sources"] >= 3
    assert first["the adapter with sources"] == 0
    assert {"retrieving", "embedding the questions"} <= first.keys()


def test_an_adapter_answers_in_cells_of_its_own(evaluate, adapter):
    document = evaluate(adapter=adapter)
    assert document["effects"].keys() == EFFECTS.keys()
    assert document["cells"]["tuned"]["intervals"]["f1"]["n"] == 2 * len(NAMES)
    for name in ("f1", "refusal", "faithfulness"):  # it changes nothing yet
        for cell in ("tuned", "tuned_rag"):
            base = document["cells"][cell.replace("tuned", "base")]
            assert document["cells"][cell][name] == base[name]


def test_an_evaluation_is_not_written_over(evaluate, tmp_path):
    evaluate()
    before = (tmp_path / "out" / "answers.jsonl").read_bytes()
    with pytest.raises(RagError, match="holds an evaluation already"):
        evaluate()
    assert (tmp_path / "out" / "answers.jsonl").read_bytes() == before


def test_questions_without_any_answer_are_refused(evaluate):
    with pytest.raises(RagError, match="No question has an answer"):
        evaluate(questions=[RetrievalQuestion("Who?", ())])
