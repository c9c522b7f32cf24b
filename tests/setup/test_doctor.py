import json
import os

from tunesmith.setup.doctor import examine


def test_the_page_is_json_and_holds_what_a_bug_report_needs(home):
    facts = json.loads(json.dumps(examine()))
    assert 1 <= facts["processor"]["usable_cores"] <= os.cpu_count()
    assert facts["dtype"]["auto"] in ("bfloat16", "float32")
    assert {"tunesmith", "python", "torch", "transformers"} <= facts["versions"].keys()
    assert facts["cache"] == {"folder": str(home), "bytes": 0, "models": []}


def test_the_cache_is_measured(home):
    (home / "models").mkdir(parents=True)
    (home / "models" / "x").write_bytes(b"12345")
    assert examine()["cache"]["bytes"] == 5
