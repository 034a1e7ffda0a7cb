"""Classes that refused boxes made unknown are never taught as absent, and gold without a box left is not trained on."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from engine.views import MANIFEST
from pipelines.exchange.gold.images import open_images
from pipelines.exchange.gold.options import ImportOptions
from pipelines.exchange.import_gold import import_gold
from schemas.errors import ConfigError
from schemas.spans import PROMPT_SEPARATOR
from student.batches.batch_builder import BatchBuilder
from student.data.streams import Stream, load_stream, load_streams
from student.prompts.caption_packing import pack_captions
from student.prompts.training_prompt import TokenBudget, TrainingPrompt, make_fixed_prompt, make_prompt
from student.settings.streams import CaptionPacking, PromptMix, StreamSettings
from student.settings.train import HardNegatives, TrainSettings
from student.training.train import train
from teacher.models.glip import GlipProcessor

NAMES = ["cup", "lynx", "hot dog", "traffic light", "stop sign", *(f"thing {n}" for n in range(60))]
IMAGES = 3
ROOMY = TokenBudget(limit=10_000, count=lambda text: len(text.split()))
SURE = HardNegatives(other_noun=1, unknown_noun=0.3, drop_attribute=0.3)
REFUSED: list[dict[str, Any]] = [
    {"bbox": [float("nan"), 0, 5, 5]},
    {"bbox": [0, 0, 0, 5]},
    {"bbox": [99, 99, 5, 5]},
    {},
    {"segmentation": [[0, 0, 5, 0, 5, 5]]},
]
CLASS = st.integers(1, len(NAMES))
PLACE = st.integers(1, IMAGES)
GOOD = st.builds(
    lambda image, c: {"image_id": image, "category_id": c, "bbox": [c % 9, 0, 9, 9]}, PLACE, CLASS
)
BAD = st.builds(
    lambda image, c, how: {"image_id": image, "category_id": c, **how}, PLACE, CLASS, st.sampled_from(REFUSED)
)
UNREADABLE = st.builds(lambda image: {"image_id": image, "category_id": 999, "bbox": [0, 0, 9, 9]}, PLACE)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(1, IMAGES + 1):
        Image.fromarray(np.full((48, 64, 3), number * 20, np.uint8)).save(folder / f"{number}.png")
    return folder


def coco(annotations: list[dict[str, Any]], **lists: Any) -> dict[str, Any]:
    return {
        "images": [
            {"id": n, "file_name": f"{n}.png", "width": 64, "height": 48, **lists}
            for n in range(1, IMAGES + 1)
        ],
        "categories": [{"id": n, "name": name} for n, name in enumerate(NAMES, start=1)],
        "annotations": [{"id": n, **one} for n, one in enumerate(annotations)],
    }


def imported(folder: Path, pictures: Path, held: dict[str, Any], **options: Any) -> str:
    (folder / "file.json").write_text(json.dumps(held))
    import_gold(
        "coco",
        folder / "file.json",
        str(folder / "gold"),
        ImportOptions(open_images(str(pictures)), **options),
    )
    return str(folder / "gold")


def unknown_of(annotations: list[dict[str, Any]], image: int) -> set[str]:
    """By the rule alone: the class of each refused box, and every class where a record names none."""
    own = [one for one in annotations if one["image_id"] == image]
    if any(one["category_id"] > len(NAMES) for one in own):
        return set(NAMES)
    refused = [
        one for one in own if any("bbox" not in one or one["bbox"] == how.get("bbox") for how in REFUSED)
    ]
    return {NAMES[one["category_id"] - 1] for one in refused}


def taught_as_absent(prompt: TrainingPrompt) -> list[str]:
    """Return the parts of a prompt that have no box and are in the loss."""
    parts, begin = [], 0
    for words in prompt.text.split(PROMPT_SEPARATOR):
        end = begin + len(words)
        spans = [span for span in prompt.spans if span.begin <= begin and end <= span.end]
        if not any(span.masked or span.boxes for span in spans):
            parts.append(words)
        begin = end + len(PROMPT_SEPARATOR)
    return parts


def prompts_of(stream: Stream, row: int, seed: int) -> list[TrainingPrompt]:
    example = stream.examples[row]
    rng = np.random.default_rng(seed)
    prompt = make_prompt(rng, stream, example, SURE, ROOMY, "[UNK]")
    packed = (
        [pack_captions(rng, stream, row, example, prompt, ROOMY)]
        if prompt.kind == "caption" and stream.settings.packing.most
        else []
    )
    return [prompt, *packed, make_fixed_prompt(example, PROMPT_SEPARATOR.join(NAMES))]


@settings(max_examples=12)
@given(
    st.lists(GOOD, min_size=4, max_size=9),
    st.lists(BAD, max_size=5),
    st.lists(UNREADABLE, max_size=1),
    st.sampled_from(["all", "authors"]),
)
def test_what_a_refused_box_made_unknown_is_never_a_negative(
    tmp_path_factory: pytest.TempPathFactory,
    pictures: Path,
    good: list[dict[str, Any]],
    bad: list[dict[str, Any]],
    unreadable: list[dict[str, Any]],
    negatives: str,
) -> None:
    annotations = [*good, *bad, *unreadable]
    folder = tmp_path_factory.mktemp("gold")
    stream = load_stream(
        StreamSettings(
            url=imported(folder, pictures, coco(annotations), negatives=negatives),
            share=1,
            prompts=PromptMix(detection=0.4, phrase_list=0.3, caption=0.3),
            packing=CaptionPacking(most=2, none=0, full=1),
        )
    )

    for row in range(IMAGES):
        image = int(Path(stream.examples[row].pixels["url"]).stem)
        unknown = unknown_of(annotations, image)
        for seed in range(8):
            for prompt in prompts_of(stream, row, seed):
                wrong = [
                    words
                    for words in taught_as_absent(prompt)
                    if any(words == name or words.endswith(f" {name}") for name in unknown)
                ]
                assert not wrong, f"{prompt.kind} of image {image} teaches {wrong} as absent"


def test_negatives_are_still_drawn_from_the_classes_that_are_known(tmp_path: Path, pictures: Path) -> None:
    """Or the property above would be about nothing."""
    boxes = [{"image_id": n, "category_id": n, "bbox": [0, 0, 9, 9]} for n in (1, 2, 3)]
    url = imported(tmp_path, pictures, coco([*boxes, {"image_id": 1, "category_id": 3}]))
    mix = PromptMix(detection=1, phrase_list=0, caption=0)
    stream = load_stream(StreamSettings(url=url, share=1, prompts=mix, negatives_full=1, negatives_max=85))
    place = {int(Path(stream.examples[row].pixels["url"]).stem): row for row in range(IMAGES)}

    absent = [set(taught_as_absent(prompts_of(stream, place[image], 0)[0])) for image in (1, 2)]

    assert absent == [set(NAMES) - {"cup", "hot dog"}, set(NAMES) - {"lynx"}]


def test_federated_gold_does_not_teach_a_listed_negative_whose_box_was_refused(
    tmp_path: Path, pictures: Path
) -> None:
    boxes = [{"image_id": n, "category_id": 1, "bbox": [0, 0, 9, 9]} for n in (1, 2, 3)]
    held = coco([*boxes, {"image_id": 1, "category_id": 2}], neg_category_ids=[2, 3])
    mix = PromptMix(detection=1, phrase_list=0, caption=0)
    stream = load_stream(
        StreamSettings(
            url=imported(tmp_path, pictures, held), share=1, prompts=mix, negatives_full=1, negatives_max=85
        )
    )

    absent = {
        int(Path(stream.examples[row].pixels["url"]).stem): sorted(
            taught_as_absent(prompts_of(stream, row, 0)[0])
        )
        for row in range(IMAGES)
    }

    assert absent == {1: ["hot dog"], 2: ["hot dog", "lynx"], 3: ["hot dog", "lynx"]}


def test_gold_of_which_every_box_was_refused_is_not_trained_on(tmp_path: Path, pictures: Path) -> None:
    url = imported(tmp_path, pictures, coco([{"image_id": 1, "category_id": 1, "bbox": [0, 0, 0, 9]}]))
    reason = rf"{url} cannot be trained on: .*no box is left: 1 of 1 annotations were refused \(box_empty 1"

    with pytest.raises(ConfigError, match=reason):
        load_stream(StreamSettings(url=url, share=1))
    without_keys_of_this_version(url)
    with pytest.raises(ConfigError, match="no box is left: 1 of 1 .* import the file again"):
        load_stream(StreamSettings(url=url, share=1))


def test_older_gold_that_may_name_refused_classes_as_absent_is_read_and_told(
    tmp_path: Path, pictures: Path, caplog: pytest.LogCaptureFixture
) -> None:
    boxes = [{"image_id": 1, "category_id": 1, "bbox": side} for side in ([0, 0, 9, 9], [0, 0, 0, 9])]
    plain = {"image_id": 2, "category_id": 1, "bbox": [0, 0, 9, 9]}
    url = imported(tmp_path, pictures, coco([*boxes, plain]))

    with caplog.at_level(logging.WARNING):
        load_stream(StreamSettings(url=url, share=1))
        assert not caplog.messages
        without_keys_of_this_version(url)
        load_stream(StreamSettings(url=url, share=1))

    assert "1 boxes were refused by an earlier version of `gold import`" in caplog.text


def without_keys_of_this_version(url: str) -> None:
    manifest = json.loads((Path(url) / MANIFEST).read_text())
    for key in ("unknown", "problems"):
        manifest["provenance"].pop(key, None)
    (Path(url) / MANIFEST).write_text(json.dumps(manifest))


def test_images_of_which_every_class_is_unknown_train_without_boxes_and_negatives(
    tmp_path: Path, pictures: Path, tiny_start: Path
) -> None:
    boxes = [{"image_id": n, "category_id": 1, "bbox": [0, 0, 30, 30]} for n in (1, 2, 3)]
    unreadable = [{"image_id": n, "category_id": 999, "bbox": [0, 0, 9, 9]} for n in (1, 2)]
    mix = PromptMix(detection=0.5, phrase_list=0.25, caption=0.25)
    stream = StreamSettings(
        url=imported(tmp_path, pictures, coco([*boxes, *unreadable])), share=1, prompts=mix
    )
    run = TrainSettings(
        start=str(tiny_start), out=str(tmp_path / "run"), streams=(stream,), steps=2, batch_size=4
    )
    streams = load_streams(run)
    maker = BatchBuilder(run, streams, GlipProcessor.from_pretrained(tiny_start))

    batch = maker.build(0)

    known = {"3"}  # the key of the one image that says what it holds
    unknown = [n for n, name in enumerate(batch.names) if name.rsplit("/")[-1] not in known]
    assert unknown and not any(len(batch.labels[n]["boxes"]) for n in unknown)
    assert not any(words for n in unknown for words in taught_as_absent(batch.prompts[n]))
    assert len({prompt.kind for prompt in batch.prompts}) > 1
    assert train(run)["steps"] == 2
