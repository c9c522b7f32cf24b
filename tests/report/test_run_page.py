"""The page of a run says what was measured, escapes what it was given, and loads nothing."""

import functools
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from tests.report.examples import answers, evaluation, finding, rates, write_run
from tunesmith.core.errors import RunError
from tunesmith.core.phrases import Phrases, languages
from tunesmith.report.page import PHRASES, _prose
from tunesmith.report.run_page import _facts, run_page
from tunesmith.runs.history import read_records


class Page(HTMLParser):
    """Text, ids, and addresses that a browser would load, of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.loaded: list[str] = []
        self.scripts = 0
        self.parts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "srcset", "action", "data") or (name == "href" and tag == "link"):
                self.loaded.append(value or "")

    def handle_data(self, data: str) -> None:
        self.parts.append(data)

    @property
    def text(self) -> str:
        return "".join(self.parts)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run") / "intents")


@functools.cache  # its plots take most of the time of these tests
def page_of(path: Path, language: str = "en") -> str:
    return run_page(read_records(path), language=language)


@pytest.mark.parametrize("language", languages(PHRASES))
def test_every_part_is_there_in_every_language(run: Path, language: str) -> None:
    page = Page(page_of(run, language))
    parts = ("result", "forgetting", "consistency", "requests", "learning", "risks", "answers")
    assert {f"section-{part}" for part in (*parts, "repeat")} <= set(page.ids)
    verdict = evaluation()["verdict"]["texts" if language == "ko" else "text"]  # type: ignore[index]
    assert (verdict["ko"] if isinstance(verdict, dict) else verdict) in page.text


def test_it_loads_nothing_and_no_id_stands_twice(run: Path) -> None:
    page = Page(page_of(run))
    assert [address for address in page.loaded if not address.startswith("data:")] == []
    assert len(page.ids) == len(set(page.ids))
    assert "@import" not in page_of(run)
    assert not re.search(r"url\((?!#)", page_of(run))


def environment_shown(path: Path, data: dict[str, str]) -> str:
    run = write_run(path)
    base = {"name": "tiny", "folder": "/home/me/models/tiny-1", "config.json": "ab12"}
    values = {"base": base, "data": data}
    (run / "environment.json").write_text(json.dumps(values), encoding="utf-8")
    return Page(page_of(run)).text


def test_the_environment_names_no_folder_of_this_machine(tmp_path: Path) -> None:
    text = environment_shown(tmp_path, {"/home/me/shop.xlsx": "cd34", "own/b.jsonl": "ef56"})
    assert "/home/me" not in text
    assert all(part in text for part in ("tiny-1", "ab12", '"shop.xlsx": "cd34"', "own/b.jsonl"))


def test_facts_notices_and_the_config_name_no_folder_of_this_machine(tmp_path: Path) -> None:
    found = {**evaluation(), "about": {"data": "/home/me/data/eval.jsonl"}}
    run = write_run(tmp_path / "run", evaluation=found)
    data = {"train": ["/home/me/data", "/home/me/shop"], "eval": "/home/me/data/eval.jsonl"}
    config = {"model": "/home/me/tiny", "data": data}
    (run / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    notices = "/home/me/data/a.jsonl: the same row", "/home/me/shop.", "/home/me/shops"
    events = (json.dumps({"event": "notice", "message": each}) for each in notices)
    (run / "events.jsonl").write_text("\n".join(events), encoding="utf-8")
    page = Page(page_of(run))
    shown = "data, shop", "eval.jsonl", "model: tiny", "- shop", "data/a.jsonl: the same"
    assert [part for part in shown if part not in page.text] == []
    assert page.text.count("/home/me") == 1  # in shops, which the config does not name


def test_the_page_of_a_stopped_run_says_how_to_resume_it_and_no_more(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", evaluation=None)
    (run / "summary.json").write_text('{"reason": "stopped", "seconds": 60, "steps": 3}')
    unread = {"event": "notice", "code": "language_fit", "message": "it hardly reads Korean"}
    events = ({"event": "planned", "steps": 9}, unread)
    (run / "events.jsonl").write_text("\n".join(map(json.dumps, events)), encoding="utf-8")
    text = Page(page_of(run)).text
    assert text.count(f"tunesmith train --resume {run}") == 2  # above, and among the next commands
    assert "tunesmith evaluate" not in text
    assert "Read its answers" not in text
    assert "with the evaluation" not in text
    assert "it hardly reads Korean" in text


def test_files_of_one_name_are_both_in_the_environment(tmp_path: Path) -> None:
    text = environment_shown(tmp_path, {"/home/me/a.jsonl": "cd34", "/home/you/a.jsonl": "ef56"})
    assert all(
        f'{file}": "{digest}"' in text
        for file, digest in (("me/a.jsonl", "cd34"), ("you/a.jsonl", "ef56"))
    )


def test_what_a_model_says_is_text_and_never_markup(run: Path) -> None:
    text = page_of(run)
    assert Page(text).scripts == 1
    assert "<b>my</b>" not in text
    assert "Name the <intent>" not in text
    assert "\x07" not in text


def test_degenerate_answers_are_named_below_the_verdict_and_beside_each_check(run: Path) -> None:
    page = Page(page_of(run))
    verdict = page.text.index("Yes: 97 % of answers now pass.")
    assert verdict < page.text.index("But 60 % of its answers are degenerate.") < verdict + 100
    note = "Degenerate answers: tuned 60 %, base 0 %, the data's own answers 0 %."
    assert page.text.count(note) == 1  # the other check has no scores
    assert "title-degeneration" in page.ids
    assert "repeats itself: tuned" in page.text
    assert "repeats the question" not in page.text  # as no answer does
    assert page_of(run).count('<span class="failed">repeats itself</span>') == 2  # shown first too


def test_a_page_without_degenerate_answers_has_no_plot_of_them(tmp_path: Path) -> None:
    part = {"found": [], "arms": {"tuned": rates(0.0)}, "references": rates(0.0), "text": "None."}
    path = write_run(tmp_path / "run", evaluation={**evaluation(), "degeneration": part})
    page = Page(page_of(path))
    assert "Degenerate answers: tuned 0 %" in page.text
    assert "title-degeneration" not in page.ids
    assert "None." not in page.text


def test_the_two_parts_and_two_rows_come_before_all_else(run: Path) -> None:
    text = page_of(run)
    parts = re.findall(r'<p class="part">([^<]*)</p>', text)
    assert parts == ["Skill: yes, +94 points over the base.", "Elsewhere: lost."]
    first = text.index('id="section-first"')
    assert text.index('class="part"') < first < text.index('class="facts"')
    asked = re.findall(r'<p class="question">([^<]*)</p>', text)
    assert [question[:8] for question in asked] == ["where is", "한국어 질문␛"]  # better, worse


def test_that_the_base_hardly_reads_the_rows_is_below_the_verdict(
    run: Path, tmp_path: Path
) -> None:
    assert "a check sees their form" not in page_of(run)
    run = write_run(tmp_path / "unread")
    line = {"event": "notice", "code": "language_fit", "message": "the base hardly reads them"}
    with (run / "events.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    text = page_of(run)
    assert text.index("the base hardly reads them") < text.index('class="facts"')


def test_a_run_without_failures_shows_one_row_first(tmp_path: Path) -> None:
    text = page_of(write_run(tmp_path / "run", answers=answers()[:1] * 3))
    assert text.count('class="beside"') == 1
    without = page_of(write_run(tmp_path / "none", evaluation=None, answers=None))
    assert "section-first" not in without


def test_rows_where_tuned_is_worse_come_first(run: Path) -> None:
    groups = re.findall(r'class="row" data-group="(\w+)"', page_of(run))
    assert groups == ["worse", "better"]


def test_words_that_the_reference_has_not_are_marked(run: Path) -> None:
    marked = re.findall(r'class="differs">([^<]*)<', page_of(run))
    assert "lost card" in marked
    assert "card_arrival" not in marked


def test_a_run_that_was_not_evaluated_says_so(tmp_path: Path) -> None:
    page = Page(page_of(write_run(tmp_path / "run", evaluation=None, answers=None)))
    assert "tunesmith evaluate RUN" in page.text
    assert "section-answers" not in page.ids
    assert "section-learning" in page.ids


def test_only_so_many_rows_stand_on_a_page_and_it_says_so(tmp_path: Path) -> None:
    many = answers()[:1] * 501
    text = page_of(write_run(tmp_path / "run", answers=many))
    assert text.count('class="row"') == 500
    assert "500 of 501 rows" in Page(text).text


def test_paper_has_the_failures_some_other_rows_and_how_many_there_are(tmp_path: Path) -> None:
    passes, fails = answers()
    text = page_of(write_run(tmp_path / "run", answers=[passes] * 30 + [fails] * 5))
    rows = re.findall(r'class="row" data-group="(\w+)"( data-unprinted)?', text)
    assert [group for group, left_out in rows if not left_out] == ["worse"] * 5 + ["better"] * 10
    assert "Printed: 15 of 35 rows" in Page(text).text
    assert "Printed" not in Page(page_of(write_run(tmp_path / "few"))).text


def test_an_evaluation_on_another_file_names_it_and_no_training_rows(tmp_path: Path) -> None:
    (tmp_path / "evaluation.json").write_text(
        json.dumps({**evaluation(), "about": {"data": "other.jsonl", "method": "lora"}})
    )
    text = Page(page_of(tmp_path)).text
    assert "evaluated on" in text
    assert "other.jsonl" in text
    assert "training rows from" not in text


@pytest.mark.parametrize("classes", [3, 30])
def test_a_confusion_matrix_is_a_table_or_the_pairs_most_often_confused(
    tmp_path: Path, classes: int
) -> None:
    judged = evaluation()
    names = [f"class{i}" for i in range(classes)]
    confusion = {name: {name: 7, names[i - 1]: i + 1} for i, name in enumerate(names)}
    figures = {"macro_f1": 0.8125, "confusion": confusion}
    judged["arms"]["tuned"]["checks"]["label"]["figures"] = figures  # type: ignore[index]
    text = page_of(write_run(tmp_path / "run", evaluation=judged))
    assert "macro F1: tuned 0.81" in text
    rows = re.findall(r"<tr>(.*?)</tr>", text[text.index("title-confusion-0") :])
    cells = [re.findall(r">([^<>]*)</t[hd]>", row) for row in rows]
    if classes == 3:
        assert cells[0][1:] == names
        assert cells[1:4] == [
            ["class0", "7", "", "1"],
            ["class1", "2", "7", ""],
            ["class2", "", "3", "7"],
        ]
    else:
        assert cells[1] == ["class29", "class28", "30"]
        assert len([row for row in cells[1:] if row[0].startswith("class")]) == 20


def test_what_the_plots_tell_is_folded_where_it_stands_in_words(run: Path) -> None:
    text = page_of(run)
    assert re.search(r"<details><summary>[^<]*</summary><p>Asked again it answers alike", text)


@pytest.mark.parametrize("language", languages(PHRASES))
def test_what_only_some_readers_know_is_behind_a_fold(run: Path, language: str) -> None:
    text = page_of(run, language)
    head = text[text.index('class="verdict') : text.index('class="facts"')]
    plain = {"en": "score about 97 of 100 now.", "ko": "이제 100점 만점에 약 97점"}
    assert head.index(plain[language]) < head.index("<details>")
    open_ = re.sub(r"<style>.*?</style>|<script>.*?</script>", "", text, flags=re.S)
    open_ = re.sub(r'<p class="part">.*?</p>', "", open_)  # the gain itself is in points
    open_ = Page(re.sub(r"<details>.*?</details>", "", open_, flags=re.S)).text
    assert "%p" not in open_
    assert not re.search(r"\bnats?\b|\bpoints?\b", open_)
    folded = {"en": "nats a token", "ko": "토큰당 nat"}
    assert folded[language] in text


@pytest.mark.parametrize(
    ("language", "said"), [("en", "10 % of its rows, held out"), ("ko", "따로 둔 10%")]
)
def test_a_share_that_was_held_out_is_no_file(tmp_path: Path, language: str, said: str) -> None:
    held = {**evaluation(), "about": {"data": 0.1}}
    records = read_records(write_run(tmp_path / "run", evaluation=held))
    values = [value for _, value in _facts(records, Phrases(PHRASES, language))]
    assert any(said in value for value in values)
    assert "0.1" not in values


def test_figures_and_notices_are_korean_on_a_korean_page(tmp_path: Path) -> None:
    found = evaluation()
    checks = found["arms"]["tuned"]["checks"]  # type: ignore[index]
    checks["label"]["figures"] = {"mean_words": 12.5}
    folder = write_run(tmp_path / "run", evaluation=found)
    notice = {"event": "notice", "message": "the same row appears earlier (2 rows)"}
    (folder / "events.jsonl").write_text(json.dumps(notice), encoding="utf-8")
    text = Page(page_of(folder, "ko")).text
    assert "평균 낱말 수: 튜닝한 모델 12.50" in text
    assert "mean words" not in text
    assert "앞에 같은 행이 이미 있습니다 (2행)" in text


def test_the_margin_is_named_and_zero_is_no_margin(run: Path) -> None:
    text = page_of(run)
    plot = text[text.index('id="title-forgetting-accuracy"') :]
    plot = plot[: plot.index("</figure>")]
    assert ">margin<" in plot
    assert plot.count("stroke-dasharray: 4") == 1


@pytest.mark.parametrize(("least", "is_log"), [(0.4, False), (0.04, True)])
def test_a_loss_that_falls_by_more_than_ten_times_is_drawn_on_a_log_scale(
    tmp_path: Path, least: float, *, is_log: bool
) -> None:
    folder = write_run(tmp_path / "run")
    losses = [{"step": 1, "loss": 3.0}, {"step": 2, "loss": least}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in losses))
    (folder / "events.jsonl").write_text("")
    assert ("log scale" in page_of(folder)) == is_log


def test_what_comes_next_has_the_export(run: Path) -> None:
    text = Page(page_of(run)).text
    assert f"tunesmith adapters export {run} --to merged --out {run.name}-merged" in text


def test_the_same_run_gives_the_same_bytes(run: Path) -> None:
    assert run_page(read_records(run), language="en") == page_of(run)


def test_notices_stand_once(run: Path) -> None:
    assert Page(page_of(run)).text.count("few rows") == 1


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no run"):
        read_records(tmp_path)


def test_a_broken_evaluation_is_told_with_its_file(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "evaluation.json").write_text("{", encoding="utf-8")
    with pytest.raises(RunError, match=r"evaluation\.json"):
        read_records(run)


def test_lines_of_answers_may_hold_any_separator(tmp_path: Path) -> None:
    row = {**answers()[0], "question": "one\u2028two\x85three"}
    assert len(read_records(write_run(tmp_path / "run", answers=[row])).answers) == 1


def test_languages_have_the_same_phrases() -> None:
    from tunesmith.core.phrases import Phrases

    def keys(value: object, at: str = "") -> set[str]:
        if not isinstance(value, dict) or set(value) <= {"one", "other"}:
            return {at}
        return {each for key, below in value.items() for each in keys(below, f"{at}.{key}")}

    assert keys(Phrases(PHRASES, "en").phrases) == keys(Phrases(PHRASES, "ko").phrases)


def test_names_between_backquotes_stand_as_code_and_nothing_unescapes():
    assert _prose("`a<b>` is & `c") == "<code>a&lt;b&gt;</code> is &amp; `c"


def test_a_share_does_not_wrap_before_its_sign():
    assert _prose("fell by -1.5 % & more") == (
        'fell by <span class="whole">-1.5 %</span> &amp; more'
    )


@pytest.mark.parametrize("language", ["en", "ko"])
def test_what_is_lost_of_an_ability_is_shown_in_words(tmp_path: Path, language: str) -> None:
    found = evaluation()
    said = {"query": "In capitals, please.", "base": "AS YOU LIKE", "tuned": "<b>no</b>"}
    found["forgetting"] = [
        {**finding("instructions", "passed", -0.4, "forgotten"), "lost": [said]},
        {**finding("benign", "passed", 0.0, "kept"), "lost": [{**said, "query": "unseen"}]},
        {**finding("tools", "passed", 0.0, "absent"), "lost": []},
    ]
    text = Page(page_of(write_run(tmp_path / "run", evaluation=found), language)).text
    assert "In capitals, please." in text
    assert "AS YOU LIKE" in text
    assert "<b>no</b>" in text
    assert "unseen" not in text
    assert Phrases(PHRASES, language).phrase("outcome.absent") in text
