"""A vocabulary becomes prompts: every class whole, once, in order, by its own words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ConfigError, NotFoundError
from student.evaluate.class_prompts import ClassWords, PromptOptions, class_prompts, read_words
from student.gold.class_names import clean_name


def categories(*names: str) -> list[dict]:
    return [{"id": 10 + n, "name": name} for n, name in enumerate(names)]


def always(caption: str) -> bool:
    return True


@given(
    st.lists(st.text("abc ", min_size=1, max_size=6).filter(str.strip), min_size=1, max_size=12, unique=True),
    st.one_of(st.none(), st.integers(1, 5)),
    st.integers(6, 30),
)
def test_every_class_stands_whole_in_exactly_one_prompt_in_order(names, chunk, limit):
    prompts = class_prompts(
        categories(*names), PromptOptions(chunk=chunk), lambda caption: len(caption) <= limit
    )

    assert [category["name"] for prompt in prompts for category in prompt.categories] == names
    for prompt in prompts:
        assert len(prompt.caption) <= limit or len(prompt.categories) == 1
        assert len(prompt.categories) <= (chunk or len(names))
        for phrase, category in zip(prompt.phrases, prompt.categories, strict=True):
            assert prompt.caption[phrase.begin : phrase.end] == phrase.text == clean_name(category["name"])


def test_words_stand_around_the_name_and_only_the_name_is_scored():
    words = {"stingray": ClassWords(name="flat fish", prefix="a ", suffix=", which swims")}

    (prompt,) = class_prompts(categories("fish", "stingray", "jellyfish"), PromptOptions(words), always)

    assert prompt.caption == "fish. a flat fish, which swims. jellyfish"
    spans = [prompt.caption[phrase.begin : phrase.end] for phrase in prompt.phrases]
    assert spans == ["fish", "flat fish", "jellyfish"]


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("traffic light", "traffic light"),
        ("Bible_(book)", "Bible"),
        ("fume_hood_(lab)_old", "fume hood old"),
        ("(x)", "(x)"),
    ],
)
def test_names_are_cleaned_as_the_authors_clean_them(name, clean):
    assert clean_name(name) == clean


def test_words_for_no_category_and_words_that_never_fit_are_refused():
    with pytest.raises(ConfigError, match="'ghost'"):
        class_prompts(categories("cat"), PromptOptions({"ghost": ClassWords()}), always)
    with pytest.raises(ConfigError, match="'elephant' alone"):
        class_prompts(
            categories("cat", "elephant"),
            PromptOptions({"elephant": ClassWords()}),
            lambda caption: len(caption) < 5,
        )


def test_a_name_that_never_fits_stands_alone_for_the_labeler_to_refuse():
    prompts = class_prompts(
        categories("cat", "elephant", "dog"), PromptOptions(), lambda caption: len(caption) < 5
    )

    assert [prompt.caption for prompt in prompts] == ["cat", "elephant", "dog"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ('{"cat": {"prefx": "a"}}', "cat.prefx"),
        ('{"cat": {"name": ""}}', "cat.name"),
    ],
)
def test_a_file_of_words_that_cannot_be_meant_is_refused_by_place(tmp_path, text, message):
    path = tmp_path / "words.json"
    path.write_text(text)

    with pytest.raises(ConfigError, match=message):
        read_words(path)


def test_a_file_of_words_is_read_and_a_missing_one_named(tmp_path):
    (tmp_path / "words.json").write_text('{"stop sign": {"name": "stop", "suffix": " sign"}}')

    assert read_words(tmp_path / "words.json") == {"stop sign": ClassWords(name="stop", suffix=" sign")}
    with pytest.raises(NotFoundError, match="absent"):
        read_words(tmp_path / "absent.json")
