import json
import os

from tunesmith.setup.doctor import examine


def test_the_page_is_json_and_holds_what_a_bug_report_needs(home):
    facts = json.loads(json.dumps(examine()))
    assert 1 <= facts["processor"]["usable_cores"] <= os.cpu_count()
    assert facts["dtype"]["auto"] in ("bfloat16", "float32")
    assert {"tunesmith", "python", "torch", "transformers"} <= facts["versions"].keys()
    assert facts["cache"] == {"folder": str(home), "bytes": 0, "models": []}


def test_every_feature_says_whether_it_is_used_and_why(home):
    features = {each["name"]: each for each in examine()["features"]}
    assert all(each["reason"] and isinstance(each["used"], bool) for each in features.values())
    assert {
        *("cuda", "xpu", "mps", "4-bit bases", "loss scaling", "ordered sums"),
        *("several ranks", "s3://"),
    } <= features.keys()
    assert sum(features[name]["used"] for name in ("bfloat16", "float32") if name in features) == 1


def test_the_cache_is_measured(home):
    (home / "models").mkdir(parents=True)
    (home / "models" / "x").write_bytes(b"12345")
    assert examine()["cache"]["bytes"] == 5
