"""A caption normalized for the tagger, and the mapping back to its code points."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teacher.phrases.text.normalize import normalize

ODD = st.text(
    st.sampled_from(list("aB é\u0301\u0130ß\ufb01\u200b\u200d\ufeff\u202e\u00a0\n\r\t 👩🐶שم’")), max_size=30
)


@given(ODD | st.text(max_size=20))
def test_every_character_knows_where_it_came_from(caption):
    plain = normalize(caption)

    for i, character in enumerate(plain.text):
        begin, end = plain.original_span(i, i + 1)
        origin = caption[begin:end]
        same = character in (origin, origin.lower(), "'")
        assert end == begin + 1 and (same or (origin.isspace() and character in " ."))


@given(ODD, st.data())
def test_a_stretch_of_the_text_comes_from_one_stretch_of_the_caption_in_order(caption, data):
    plain = normalize(caption)
    if not plain.text:
        return
    begin = data.draw(st.integers(0, len(plain.text) - 1))
    end = data.draw(st.integers(begin + 1, len(plain.text)))

    first, last = plain.original_span(begin, end)

    assert 0 <= first < last <= len(caption)
    assert plain.original_span(0, end)[1] == last and plain.original_span(begin, len(plain.text))[0] == first


@pytest.mark.parametrize(
    ("caption", "text"),
    [
        ("a  red\tdog", "a red dog"),
        ("a dog\n\na cat", "a dog . a cat"),
        ("zero\u200bwidth \u202emarks", "zerowidth marks"),
        ("the dog’s toy", "the dog's toy"),
        ("BIG RED CARS", "big red cars"),
        ("Smiling Young Woman Walking", "smiling young woman walking"),
        ("Ada met a NASA engineer in the rain", "Ada met a NASA engineer in the rain"),
        ("\u0130\u0130\u0130 BIG", "\u0130\u0130\u0130 big"),
    ],
)
def test_only_what_says_nothing_is_changed(caption, text):
    assert normalize(caption).text == text
