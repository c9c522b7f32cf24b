from tunesmith.retrieval.passage import terms


def test_korean_words_become_pairs_so_that_particles_do_not_hide_them():
    bare, with_particle = (set(terms(word).split()) for word in ("고양이", "고양이에게는"))
    assert bare == {"고양", "양이"}
    assert bare < with_particle


def test_other_words_stay():
    assert terms("The cat's 3 days") == "The cat's 3 days"


def test_mixed_words_come_apart_and_single_characters_stay():
    assert terms("API를 쓴다").split() == ["API", "를", "쓴다"]


def test_composed_and_decomposed_forms_are_one():
    import unicodedata

    assert terms(unicodedata.normalize("NFD", "고양이")) == terms("고양이")
