"""The writer and the readers of detection prompts agree, because the separator is defined once."""

from __future__ import annotations

import ast
from pathlib import Path

from pipelines.exchange.gold.rows import join_names
from schemas.spans import PROMPT_SEPARATOR, is_detection_caption
from tests.import_graph import PACKAGES, ImportGraph


def test_the_caption_that_the_import_writes_is_recognized() -> None:
    names = ["cat", "traffic light", "dog"]
    caption, spans = join_names(names)

    assert is_detection_caption(caption, names)
    assert [caption[begin:end] for begin, end in spans] == names


def test_a_caption_that_says_more_than_its_phrases_is_no_list() -> None:
    assert not is_detection_caption("a cat. dog", ["cat", "dog"])
    assert not is_detection_caption("cat. dog. ", ["cat", "dog"])
    assert not is_detection_caption("dog. cat", ["cat", "dog"])


def test_the_separator_is_defined_in_one_file(project_root: Path) -> None:
    files = ImportGraph(project_root, (*PACKAGES, "benchmarks")).files

    found = [
        (str(file.path), node.value) for file in files for node in file.walk((ast.Assign, ast.AnnAssign))
    ]
    defined = [
        path for path, value in found if isinstance(value, ast.Constant) and value.value == PROMPT_SEPARATOR
    ]
    assert defined == ["schemas/spans.py"]
