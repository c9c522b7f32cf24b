import json
import os

import torch

from tunesmith.setup import features
from tunesmith.setup.doctor import examine


def test_the_page_is_json_and_holds_what_a_bug_report_needs(home):
    facts = json.loads(json.dumps(examine()))
    assert 1 <= facts["processor"]["usable_cores"] <= os.cpu_count()
    assert facts["dtype"]["auto"] in ("bfloat16", "float32")
    assert {"tunesmith", "python", "torch", "transformers"} <= facts["versions"].keys()
    assert facts["cache"] == {"folder": str(home), "bytes": 0, "models": []}


def test_every_feature_says_whether_it_is_used_and_why(home):
    found = {each["name"]: each for each in examine()["features"]}
    assert all(each["reason"] and isinstance(each["used"], bool) for each in found.values())
    assert {"cuda", "xpu", "mps", "4-bit bases", "loss scaling", "ordered sums"} <= found.keys()
    assert found["attention in one call"]["reason"].startswith("only on CUDA")
    assert sum(found[name]["used"] for name in ("bfloat16", "float32") if name in found) == 1


def test_the_attention_of_a_card_is_named(monkeypatch):
    device = torch.device("cuda")
    monkeypatch.setattr(features, "obstacle", lambda device, dtype: None)
    assert features._attention(device, torch.bfloat16).used
    monkeypatch.setattr(features, "obstacle", lambda device, dtype: "only from Ampere on")
    found = features._attention(device, torch.float16)
    assert (found.used, found.reason.partition(";")[0]) == (False, "only from Ampere on")


def test_the_cache_is_measured(home):
    (home / "models").mkdir(parents=True)
    (home / "models" / "x").write_bytes(b"12345")
    assert examine()["cache"]["bytes"] == 5
