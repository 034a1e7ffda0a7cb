"""`groundswell phrases`: spans, reasons and prompts for people and for scripts."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner, Result

from pipelines.cli import build_app
from pipelines.labels.phrases import format_caption, word_budget
from schemas.labeler import FoundPhrases
from schemas.records import DroppedPhrase, Phrase


def groundswell(*words: str) -> Result:
    return CliRunner().invoke(build_app(), ["phrases", *words])


def test_a_file_gives_one_object_a_line_with_spans_and_reasons(tmp_path):
    captions = ["view of a red dog", "", "🐶 two\u2028cats", "Der Hund ist in dem Haus"]
    (tmp_path / "captions.txt").write_text("\n".join(captions) + "\n", encoding="utf-8")

    answer = groundswell("--file", str(tmp_path / "captions.txt"), "--json", "--pipeline", "lexicon")

    rows = [json.loads(line) for line in answer.stdout.split("\n") if line]
    assert answer.exit_code == 0 and [row["caption"] for row in rows] == captions
    assert rows[0]["phrases"] == [
        {"begin": 8, "end": 17, "text": "a red dog", "root": "dog", "kind": "chunk", "groundable": True}
    ]
    assert rows[0]["rejected"] == [{"begin": 0, "end": 4, "text": "view", "code": "PH_IMAGE_WORD"}]
    assert rows[0]["prompts"] == [{"text": "view of a red dog", "spans": [[0, 8, 17]]}]
    for row in rows:
        for item in (*row["phrases"], *row["rejected"]):
            assert row["caption"][item["begin"] : item["end"]] == item["text"]


def test_a_caption_is_shown_with_its_marks_reasons_and_prompts():
    answer = groundswell("a photo of a red dog", "--pipeline", "lexicon")

    assert answer.stdout.splitlines()[0] == "{a photo} of [a red dog]"
    assert "PH_IMAGE_WORD a photo: the head noun names the picture" in answer.stdout
    assert "prompt 1: a photo of a red dog" in answer.stdout


def test_colored_output_differs_only_in_color():
    caption = "the left of a dog"
    found = FoundPhrases(
        (Phrase(begin=12, end=17, text="a dog", root="dog"),),
        (DroppedPhrase(begin=0, end=8, text="the left", code="PH_STOP_HEAD"),),
    )

    plain, coloured = (format_caption(caption, found, word_budget(256), color) for color in (False, True))

    for code in ("\x1b[1;32m", "\x1b[2m", "\x1b[36m", "\x1b[0m"):
        assert code in coloured
        coloured = coloured.replace(code, "")
    assert coloured == plain


@pytest.mark.parametrize(
    ("words", "code"),
    [([], 2), (["a", "--file", "b"], 2), (["--file", "/nowhere.txt"], 4), (["x", "--chunker", "y"], 2),
     (["x", "--pipeline", "en_no_such_model"], 4), (["x", "--teacher", "/nowhere"], 4), (["a \udcff dog"], 2)],
)  # fmt: skip
def test_invalid_arguments_give_an_exit_code_and_a_remedy(words, code):
    answer = groundswell(*words)

    assert answer.exit_code == code and answer.stderr.startswith("error: ")


def test_a_line_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / "bad.txt").write_bytes(b"a dog\n\xff\n")

    answer = groundswell("--file", str(tmp_path / "bad.txt"), "--pipeline", "lexicon")

    assert answer.exit_code == 2 and "bad.txt:2" in answer.stderr


def test_a_line_that_label_would_take_for_no_caption_is_refused_with_its_number(tmp_path):
    path = tmp_path / "captions.txt"
    path.write_text("a dog\n" + "a red car and " * 75_000 + "\n")

    answer = groundswell("--file", str(path), "--pipeline", "lexicon")

    assert answer.exit_code == 2
    assert answer.stderr == (
        f"error: {path}:2: the line has more than 65536 bytes, the longest caption allowed; expected one caption per "
        "line\n"
    )


def test_the_longest_caption_that_label_takes_is_read_whole_whatever_ends_its_line(tmp_path):
    path, caption = tmp_path / "captions.txt", "a dog " + "x" * 65_530
    path.write_bytes(caption.encode() + b"\r\na cat")

    answer = groundswell("--file", str(path), "--json", "--pipeline", "lexicon")

    assert [json.loads(line)["caption"] for line in answer.stdout.splitlines()] == [caption, "a cat"]


def test_expressions_without_a_parser_are_refused() -> None:
    answer = groundswell("a dog", "--pipeline", "lexicon", "--expressions")

    assert answer.exit_code == 2 and "leave expressions out" in answer.stderr
