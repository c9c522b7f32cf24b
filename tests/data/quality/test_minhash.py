"""Long texts: estimates come near the truth, and templates do not count."""

import random

import numpy as np

from tunesmith.data.quality import near as minhash

WORDS = [f"{a}{b}{c}" for a in "bdfgk" for b in "aeiou" for c in ("nt", "rm", "ls", "x")]


def text(rng, count=80):
    return " ".join(rng.choices(WORDS, k=count))


def signatures(*texts):
    return minhash.signatures_of(texts)


def jaccard(a, b):
    first, other = (
        {t[i : i + minhash.WINDOW] for i in range(len(t) - minhash.WINDOW + 1)} for t in (a, b)
    )
    return len(first & other) / len(first | other)


def test_similarity_is_near_the_share_of_common_shingles():
    rng = random.Random(0)
    errors = []
    for changed in range(0, 40, 2):
        words = text(rng).split()
        other = list(words)
        for place in rng.sample(range(len(words)), changed):
            other[place] = rng.choice(WORDS)
        a, b = " ".join(words), " ".join(other)
        both = signatures(a, b)
        errors.append(minhash.similarity(both[:1], both[1:])[0] - jaccard(a, b))
    assert abs(np.mean(errors)) < 0.03
    assert np.abs(errors).max() < 0.2


def test_a_text_has_the_same_signature_whatever_stands_beside_it():
    rng = random.Random(1)
    some = [text(rng) for _ in range(5)]
    together = signatures(*some)
    assert all((signatures(t)[0] == together[i]).all() for i, t in enumerate(some))


def test_the_signature_depends_on_the_last_characters_and_not_on_what_follows():
    rng = random.Random(2)
    begin = text(rng, 40)
    assert (signatures(begin, "x" * 20)[0] == signatures(begin, "y" * 20)[0]).all()


def near(*texts):
    found = signatures(*texts)
    minhash.hide_templates_(found)
    pairs = (pair for some in minhash.similar_pairs(found) for pair in some.tolist())
    return {tuple(sorted(pair)) for pair in pairs}


def test_near_texts_are_found_and_others_are_not():
    rng = random.Random(3)
    words = text(rng).split()
    words[40] = "elsewhere"
    assert near(text(random.Random(3)), " ".join(words), text(rng), text(rng)) == {(0, 1)}


def test_a_template_does_not_make_texts_the_same():
    rng = random.Random(4)
    template = text(rng, 60)
    rows = [f"{template} {text(rng, 8)}" for _ in range(40)]
    assert jaccard(rows[0], rows[1]) > minhash.NEAR
    assert near(*rows) == set()


def test_too_little_beside_a_template_says_nothing():
    a = np.full((1, minhash.BINS), 0xFF, dtype=np.uint8)
    a[0, : minhash.MIN_BINS - 1] = 7
    assert minhash.similarity(a, a)[0] == 0
    a[0, minhash.MIN_BINS - 1] = 7
    assert minhash.similarity(a, a)[0] == 1


def test_scripts_of_several_bytes_work_alike():
    a = "지난주에 주문한 상품이 아직도 도착하지 않아서 배송 상태를 확인하고 싶습니다 " * 3
    assert near(
        a, a.replace("상품이", "물건이", 1), "완전히 다른 문장을 아무렇게나 길게 써 봅니다 " * 5
    ) == {(0, 1)}


def test_rows_near_any_other_are_those_that_a_comparison_of_all_finds():
    rng = random.Random(1)
    bases = [text(rng).split() for _ in range(12)]
    texts = []
    for _ in range(300):
        words = list(rng.choice(bases))
        for place in rng.sample(range(len(words)), rng.randrange(30)):
            words[place] = rng.choice(WORDS)
        texts.append(" ".join(words))
    found, others = np.split(signatures(*texts), [200])
    near = minhash.similar_to_any(found, others)
    bands = found.reshape(200, 1, -1, 4) == others.reshape(1, 100, -1, 4)
    in_a_bucket = bands.all(axis=3).any(axis=2)
    alike = [minhash.similarity(np.tile(row, (100, 1)), others) >= minhash.NEAR for row in found]
    assert near.tolist() == (in_a_bucket & alike).any(axis=1).tolist()
    assert 20 < near.sum() < 180
    assert minhash.similar_to_any(found, others[:0]).sum() == 0
