"""`model: auto`: a base that fits, can be had and is published for the rows' language."""

import json

import huggingface_hub
import pytest

from tests.runs.tiny import config
from tunesmith.core.errors import ModelError
from tunesmith.core.progress import Progress
from tunesmith.engine.families import FAMILIES
from tunesmith.models.hub_bases import find_hub_base
from tunesmith.models.names import require_base_name
from tunesmith.runs import model_choice
from tunesmith.runs.inputs import require_inputs
from tunesmith.runs.model_choice import can_be_fetched, fitting, with_model

GIGABYTE = 10**9
KOREAN = ["오늘은 날씨가 맑고 바람도 없어서 걷기 좋습니다.", "배송은 내일 오후에 옵니다."]
ENGLISH = ["The weather is fine and warm today.", "Your parcel will arrive tomorrow afternoon."]


def chosen(tmp_path, monkeypatch, answers, *, hub=True, available=64 * GIGABYTE, device="cpu"):
    """What `auto` became, and what was reported."""
    rows = tmp_path / "mine.jsonl"
    rows.write_text(
        "".join(json.dumps({"prompt": a, "completion": a}) + "\n" for a in answers * 12)
    )
    asked, events = [], []
    monkeypatch.setattr(
        model_choice, "can_be_fetched", lambda name: bool(asked.append(name)) or hub
    )
    monkeypatch.setattr(model_choice.memory, "available_bytes", lambda _: available)
    settings = config(tmp_path, model="auto", device=device, data={"train": str(rows), "eval": 0})
    found = with_model(settings, progress=Progress(events.append))
    (notice,) = events
    assert len(asked) <= 1
    return found.model, notice.message


def test_a_known_base_that_fits_is_taken_where_the_hub_answers(tmp_path, monkeypatch):
    name, told = chosen(tmp_path, monkeypatch, ENGLISH)
    base = find_hub_base(name)
    assert base.family in FAMILIES
    assert "en" in base.languages
    for said in (base.hub_id, base.licence, "in bfloat16", "languages", "English"):
        assert said in told


def test_without_the_hub_it_is_the_base_of_the_package_index(tmp_path, monkeypatch):
    name, told = chosen(tmp_path, monkeypatch, ENGLISH, hub=False)
    assert name == "smollm2-135m-instruct"
    assert "the hub did not answer within 3 s" in told
    name, told = chosen(tmp_path, monkeypatch, KOREAN, hub=False)
    assert name == "smollm2-135m-instruct"
    assert "published for English alone" in told


def test_the_rows_language_and_the_memory_decide(tmp_path, monkeypatch):
    name, told = chosen(tmp_path, monkeypatch, KOREAN)
    assert "ko" in find_hub_base(name).languages
    assert "Korean" in told
    name, told = chosen(tmp_path, monkeypatch, ENGLISH, available=GIGABYTE // 4)
    assert name == "smollm2-135m-instruct"
    assert "fits this machine" in told


def test_bases_that_need_consent_or_forbid_a_use_are_left_out():
    found = fitting("ko", available=None, large_first=False)
    assert {base.licence for base in found} <= {"Apache-2.0", "MIT"}
    assert not any(base.gated for base in found)
    large = fitting("en", available=64 * GIGABYTE, large_first=True)
    sizes = [base.parameters for base in large]
    assert sizes == sorted(sizes, reverse=True)


def test_a_base_that_is_named_stays_and_nothing_is_asked(tmp_path):
    settings = config(tmp_path)
    assert with_model(settings) is settings


def test_one_attempt_of_three_seconds(monkeypatch):
    asked = []

    def metadata(url, **options):
        asked.append((url, options))
        raise OSError("no network")

    monkeypatch.undo()  # the block of all tests
    monkeypatch.setattr(model_choice, "get_hf_file_metadata", metadata)
    assert can_be_fetched("Qwen/Qwen3-0.6B") is False
    ((url, options),) = asked
    assert url == huggingface_hub.hf_hub_url("Qwen/Qwen3-0.6B", "config.json")
    assert options == {"timeout": 3.0}


def test_auto_is_refused_where_no_rows_can_choose(tmp_path):
    require_inputs(config(tmp_path, model="auto"))
    with pytest.raises(ModelError, match="chosen by the rows"):
        require_base_name("auto")
