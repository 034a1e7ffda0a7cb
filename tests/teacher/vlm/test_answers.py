"""Answers in text: what is read as boxes, and what rejects the sample."""

import itertools
import json

import pytest

from schemas.errors import SampleRejectedError
from teacher.vlm.answers import MAX_BOXES, read_answer
from tests.mutations import Mutation

SIZE = (56, 112)
"""(height, width) of the image that was sent"""
ONE = '{"bbox_2d": [10, 5, 60, 50], "label": "a dog"}'


def qwen(text, *, texts=("a dog", "two cats"), style="qwen2.5"):
    return read_answer(text, texts, style, SIZE)


def read_json_style(text, *, texts=("a dog", "two cats")):
    return read_answer(text, texts, "json", SIZE)


def test_coordinates_are_pixels_of_the_sent_image_or_thousandths_as_the_style_says():
    expected = {"qwen2.5": (10 / 112, 5 / 56, 60 / 112, 50 / 56), "qwen3": (0.01, 0.005, 0.06, 0.05)}

    for style, box in expected.items():
        assert qwen(f"[{ONE}]", style=style).boxes == ((0, box),)
    assert read_json_style('{"boxes": [{"phrase": 1, "box": [0, 250, 500.5, 1000]}]}').boxes == (
        (1, (0, 0.25, 0.5005, 1)),
    )


@pytest.mark.parametrize(
    "text",
    [
        f"[{ONE}]",
        ONE,
        f"```json\n[{ONE}]\n```",
        f"```\n[{ONE}]\n```",
        f"Sure! In the image [1] there is a dog {{happy}}:\n\n```json\n[\n{ONE}\n]\n```\nAnything else?",
        f"<think>maybe [{ONE}], or {{ ...</think>\n[{ONE}]",
        f"\ufeff  [{ONE}]  ",
    ],
)
def test_the_one_list_of_boxes_is_found_in_prose_and_fences(text):
    assert [position for position, _ in qwen(text).boxes] == [0]


@pytest.mark.parametrize("text", ["[]", "```json\n[]\n```", "There is none: []"])
def test_an_empty_list_means_that_nothing_is_there(text):
    assert qwen(text).boxes == () and qwen(text).unmatched == 0
    assert read_json_style('{"boxes": []}').boxes == ()


def test_labels_name_the_phrase_whatever_their_case_quotes_and_spaces():
    labels = ["Two  Cats", '"two cats"', "two cats.", "\u201cTWO CATS\u201d", "\uff54wo cats"]
    answer = json.dumps([{"bbox_2d": [0, 0, 9, 9], "label": label} for label in labels])

    assert [position for position, _ in qwen(answer).boxes] == [1] * 5


def test_a_label_that_was_not_asked_for_is_left_out_and_counted():
    answer = json.dumps([json.loads(ONE), {"bbox_2d": [0, 0, 9, 9], "label": "a horse"}])
    outside = json.dumps({"boxes": [{"phrase": number, "box": [0, 0, 1, 1]} for number in (0, 2, -1)]})

    assert (len(qwen(answer).boxes), qwen(answer).unmatched) == (1, 1)
    assert (len(read_json_style(outside).boxes), read_json_style(outside).unmatched) == (1, 2)


def test_boxes_of_which_none_was_asked_for_reject_the_sample_rather_than_find_nothing():
    with pytest.raises(
        SampleRejectedError, match="none of the 1 boxes is of a phrase that was asked, but of 'horse'"
    ):
        qwen('[{"bbox_2d": [0, 0, 9, 9], "label": "horse"}]')


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no list of boxes"),
        ("I cannot help with that.", "no list of boxes"),
        ("[1, 2, 3, 4]", "no list of boxes"),
        (f"[{ONE}, {{\"bbox_2d\": [1, 2", "cannot be read"),
        (f"```json\n[{ONE},\n{{\"bbox_2d\": [1, 2, 3, 4], \"lab", "cannot be read"),
        (f"[{ONE},]", "cannot be read"),
        ("[{'bbox_2d': [1, 2, 3, 4], 'label': 'a dog'}]", "cannot be read"),
        ('[{"bbox_2d": [1, 2, NaN, 4], "label": "a dog"}]', "NaN is not JSON"),
        ('[{"bbox_2d": [1, 2, Infinity, 4], "label": "a dog"}]', "Infinity is not JSON"),
        ('[{"bbox_2d": [1, 2, 1e999, 4], "label": "a dog"}]', "finite"),
        ('[{"bbox_2d": [1, 2, 1' + "0" * 400 + ', 4], "label": "a dog"}]', "finite"),
        ('[{"bbox_2d": [1, 2, 1' + "0" * 5000 + ', 4], "label": "a dog"}]', "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ('{"a":' * 100_000, "cannot be read"),
        ('[{"bbox_2d": [1, 2, 3], "label": "a dog"}]', "expected four numbers"),
        ('[{"bbox_2d": [1, 2, "3", 4], "label": "a dog"}]', "expected a number"),
        ('[{"bbox_2d": [1, 2, true, 4], "label": "a dog"}]', "expected a number"),
        ('[{"bbox_2d": [[1, 2, 3, 4]], "label": "a dog"}]', "expected four numbers"),
        ('[{"bbox_2d": [1, 2, 3, 4]}]', "label None"),
        ('[{"bbox_2d": [1, 2, 3, 4], "label": 0}]', "label 0"),
        ('[{"point_2d": [1, 2], "label": "a dog"}]', "bbox_2d None"),
        (f"[{ONE}]\nor better:\n[{ONE}]", "2 lists of boxes"),
        (f"[{ONE}, 7]", "no list of boxes"),
    ],
    ids=itertools.count(),
)  # fmt: skip
def test_another_form_rejects_the_sample_with_a_reason(text, reason):
    with pytest.raises(SampleRejectedError, match=reason) as error:
        qwen(text)

    assert error.value.code == "TEACHER_ANSWER" and len(error.value.detail) <= 200


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[{"phrase": 0, "box": [0, 0, 1, 1]}]', "no list of boxes"),
        ('{"boxes": [{"phrase": "a dog", "box": [0, 0, 1, 1]}]}', "expected int"),
        ('{"boxes": [{"phrase": true, "box": [0, 0, 1, 1]}]}', "expected int"),
        ('{"boxes": [{"phrase": 0.0, "box": [0, 0, 1, 1]}]}', "expected int"),
        ('{"boxes": null}', "no list of boxes"),
        (f"[{ONE}]", "no list of boxes"),
    ],
)  # fmt: skip
def test_the_numbered_form_is_read_as_strictly(text, reason):
    with pytest.raises(SampleRejectedError, match=reason):
        read_json_style(text)


def test_a_million_boxes_are_refused_before_they_are_read():
    million = "[" + ",".join([ONE] * 1_000_000) + "]"
    many = "[" + ",".join([ONE] * (MAX_BOXES + 1)) + "]"

    for text, reason in ((million, "characters"), (many, f"{MAX_BOXES + 1} boxes")):
        with pytest.raises(SampleRejectedError, match=reason):
            qwen(text)


def test_a_long_answer_of_brackets_is_refused_in_linear_time():
    for text in ("[1]" * 300_000, "[ " * 400_000, "{" * 900_000, "x[" * 400_000, "[1" * 400_000):
        with pytest.raises(SampleRejectedError, match="TEACHER_ANSWER"):
            qwen(text)


_FILE = "teacher/vlm/answers.py"
MUTATIONS = (
    Mutation(_FILE, 'if style == "qwen2.5" else', 'if style != "json" else', "test_coordinates_are_pixels"),
    Mutation(_FILE, "if items and not found:", "if False:", "test_boxes_of_which_none_was_asked"),
    Mutation(_FILE, "parse_constant=_refuse_constant", "", "test_another_form_rejects"),
    Mutation(_FILE, "if not math.isfinite(number):", "if False:", "test_another_form_rejects"),
    Mutation(_FILE, "(ValueError, RecursionError)", "ValueError", "test_another_form_rejects"),
    Mutation(_FILE, "if len(found) > 1:", "if False:", "test_another_form_rejects"),
    Mutation(_FILE, "if len(answer) > MAX_CHARACTERS:", "if False:", "test_a_million_boxes"),
    Mutation(_FILE, "if len(items) > MAX_BOXES:", "if False:", "test_a_million_boxes"),
    Mutation(_FILE, "answer.rpartition(_THINKING)[2]", "answer", "test_the_one_list_of_boxes"),
    Mutation(_FILE, " or isinstance(name, bool)", "", "test_the_numbered_form"),
    Mutation(_FILE, "0 <= position < len(texts)", "position < len(texts)", "test_a_label_that_was_not"),
)
