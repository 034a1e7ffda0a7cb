"""What training asks of imported detection gold: all that is there, drawn negatives, and nothing that is not known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engine.views import open_view, write_view
from pipelines.exchange.gold.images import open_images
from pipelines.exchange.gold.options import ImportOptions
from pipelines.exchange.import_gold import import_gold
from schemas.errors import ConfigError
from student.data.streams import Stream, load_stream, load_streams, read_class_relations
from student.prompts.training_prompt import TokenBudget, TrainingPrompt, make_detection_prompt
from student.settings.streams import CaptionPacking, PromptMix, StreamSettings
from student.settings.train import TrainSettings
from student.training.report import run_digest
from teacher.nouns.class_relations import ClassRelations

WORDS = TokenBudget(limit=12, count=lambda text: len(text.split()))
MIX = PromptMix(detection=0.8, phrase_list=0, caption=0.2)


def stream_of(tmp_path: Path, **lists: Any) -> Stream:
    """One image with a dog and a crowd of cats, of 30 categories."""
    (tmp_path / "images").mkdir()
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(tmp_path / "images" / "one.jpg")
    categories = [{"id": n, "name": f"c{n}"} for n in range(3, 31)]
    boxes = [(1, 0), (2, 1)]
    held = {
        "images": [{"id": 1, "file_name": "one.jpg", "width": 64, "height": 48, **lists}],
        "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}, *categories],
        "annotations": [
            {"id": c, "image_id": 1, "category_id": c, "bbox": [c, 0, 9, 9], "iscrowd": crowd}
            for c, crowd in boxes
        ],
    }
    (tmp_path / "coco.json").write_text(json.dumps(held))
    options = ImportOptions(images=open_images(str(tmp_path / "images")))
    import_gold("coco", tmp_path / "coco.json", str(tmp_path / "gold"), options)
    return load_stream(StreamSettings(url=str(tmp_path / "gold"), share=1, prompts=MIX))


def prompts(stream: Stream, negatives: int) -> list[TrainingPrompt]:
    return [
        make_detection_prompt(np.random.default_rng(seed), stream, stream.examples[0], negatives, WORDS)
        for seed in range(20)
    ]


def nouns(prompt: TrainingPrompt) -> list[str]:
    return [prompt.text[span.begin : span.end] for span in prompt.spans]


def test_exhaustive_gold_asks_for_all_that_is_there_and_draws_absent_ones(tmp_path: Path) -> None:
    asked = prompts(stream_of(tmp_path), negatives=5)

    assert all("dog" in nouns(prompt) and len(nouns(prompt)) == 6 for prompt in asked)
    assert len({name for prompt in asked for name in nouns(prompt)}) > 15
    assert not any("cat" in nouns(prompt) for prompt in asked)  # a crowd alone: neither there nor absent
    for prompt in asked:
        assert all(bool(span.boxes) == (noun == "dog") for noun, span in zip(nouns(prompt), prompt.spans))


def test_what_is_there_is_not_crowded_out_by_the_token_limit(tmp_path: Path) -> None:
    asked = prompts(stream_of(tmp_path), negatives=29)

    assert all("dog" in nouns(prompt) and len(nouns(prompt)) == WORDS.limit for prompt in asked)


def test_categories_that_other_rows_of_federated_gold_list_are_not_packed_around_a_row(
    tmp_path: Path,
) -> None:
    stream = stream_of(tmp_path, neg_category_ids=[4, 7], not_exhaustive_category_ids=[])

    with pytest.raises(ConfigError, match=r"set packing\.most: 0 \(is 20\)"):
        load_stream(stream.settings.model_copy(update={"packing": CaptionPacking(most=20)}))


def test_what_is_there_is_not_crowded_out_by_what_federated_gold_lists_as_absent(tmp_path: Path) -> None:
    stream = stream_of(tmp_path, neg_category_ids=list(range(3, 31)), not_exhaustive_category_ids=[])

    asked = prompts(stream, negatives=0)

    assert all("dog" in nouns(prompt) and len(nouns(prompt)) == WORDS.limit for prompt in asked)


def test_gold_that_does_not_box_everything_is_not_asked_one_prompt_for_all(tmp_path: Path) -> None:
    stream = stream_of(tmp_path, neg_category_ids=[4, 7], not_exhaustive_category_ids=[])
    only = stream.settings.model_copy(update={"prompts": PromptMix(detection=1, phrase_list=0, caption=0)})
    values = {"start": "x", "out": "x", "steps": 1, "streams": [only.model_dump()]}

    assert load_streams(TrainSettings.model_validate(values))
    with pytest.raises(ConfigError, match="gold is not exhaustive; tuning_prompt"):
        load_streams(TrainSettings.model_validate({**values, "tuning": "prompt", "tuning_prompt": "dog. c5"}))


@pytest.mark.parametrize("negatives", [0, 20])
def test_federated_gold_asks_for_nothing_that_its_row_does_not_list(tmp_path: Path, negatives: int) -> None:
    stream = stream_of(tmp_path, neg_category_ids=[4, 7], not_exhaustive_category_ids=[])

    assert not stream.exhaustive
    assert all(sorted(nouns(prompt)) == ["c4", "c7", "dog"] for prompt in prompts(stream, negatives))


def test_related_classes_of_gold_are_part_of_the_run(tmp_path: Path) -> None:
    """Relations of class names change which nouns are drawn, so they change the digest. Words have no relations."""
    plain = stream_of(tmp_path)
    related = replace(plain, relations=ClassRelations({"c3": ("c4",)}))
    start = tmp_path / "start"
    start.mkdir()
    (start / "model.safetensors").write_bytes(b"weights")
    values = {"start": str(start), "out": str(tmp_path / "run"), "streams": [plain.settings], "steps": 1}
    settings = {rule: TrainSettings(**values, negatives=rule) for rule in ("concepts", "words")}
    [words], [concepts] = (load_streams(settings[rule]) for rule in ("words", "concepts"))

    digests = {run_digest(settings["concepts"], [one]) for one in (concepts, related)}

    assert words.relations is None and concepts.relations == ClassRelations()
    assert len(digests | {run_digest(settings["words"], [words])}) == 3


def test_a_stream_of_gold_has_the_relations_of_its_categories(tmp_path: Path) -> None:
    write_view(str(tmp_path), [], kind="gold", provenance={"facts": {"broader": {"Car": ["vehicle"]}}})

    assert read_class_relations(open_view(str(tmp_path))) == ClassRelations({"car": ("vehicle",)})
