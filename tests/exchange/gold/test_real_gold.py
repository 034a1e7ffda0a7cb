"""Every file of other people's gold: imported with exact counts, or refused with a reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli.verbs.gold import read_names
from pipelines.exchange.gold.images import open_images
from schemas.errors import ConfigError, GroundswellError
from student.data.streams import load_stream
from student.gold.label_map import read_label_map
from student.settings.streams import PromptMix, StreamSettings

THIRD = "third_party/"
# file, format, with label map: {kind: (in, kept, repaired, refused)}, rows, regions
WITHOUT_IMAGES = [
    ("instances.json", "coco", {"annotations": (877, 877, 0, 0), "images": (97, 97, 0, 0)}, 97, 877),
    (
        "detprompt_mixed.json",
        "mdetr",
        {"annotations": (869, 869, 0, 0), "asked phrases": (376, 376, 0, 0), "images": (96, 96, 0, 0)},
        96,
        869,
    ),
    (
        THIRD + "cocoapi_instances_val2014_100.json",
        "coco",
        {"annotations": (839, 839, 0, 0), "images": (100, 100, 0, 0)},
        100,
        839,
    ),
    (
        THIRD + "open_groundingdino_readme_odvg.jsonl",
        "odvg",
        {"lines": (4, 4, 0, 0), "regions": (11, 11, 0, 0)},
        4,
        11,
    ),
    (
        THIRD + "flickr30k_entities_sample",
        "flickr30k",
        {"captions": (40, 40, 0, 0), "images": (8, 8, 0, 0)},
        40,
        0,
    ),
]
REFUSED = [
    ("captions.json", "coco", "no categories; a file of captions"),
    ("captions.json", "mdetr", r"97 of 97 images refused \(caption_bad\)"),
    ("detprompt_mixed.json", "coco", "use `gold import mdetr`"),
    ("instances.json", "mdetr", r"877 of 877 annotations refused \(image_refused\)"),
    ("yolox_nano_detections.json", "coco", "expected a JSON object"),
    ("yolox_nano_web_detections.jsonl", "odvg", r"486 of 486 lines refused \(field_missing\)"),
    ("web_key_map.csv", "odvg", r"98 of 98 lines refused \(json_bad\)"),
    (THIRD + "cocoapi_instances_val2014_fakebbox100_results.json", "coco", "expected a JSON object"),
    (THIRD + "cocoapi_fakebbox100_EXPECTED.json", "coco", "expected an object with images and annotations"),
    (THIRD + "ogd_coco2017_label_map.json", "coco", "expected an object with images and annotations"),
    (THIRD + "llava_caps_boxes_coco2014_val_80.jsonl", "odvg", r"80 of 80 lines refused \(field_missing\)"),
]


def counts(records: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {
        kind: tuple(told[name] for name in ("in", "kept", "repaired", "refused"))
        for kind, told in records.items()
    }


@pytest.mark.parametrize(
    ("name", "format", "expected", "rows", "regions"), WITHOUT_IMAGES, ids=lambda v: str(v)[:40]
)
def test_a_file_is_imported_with_these_counts(
    shared_data: Path, imported: Callable, name: str, format: str, expected: dict, rows: int, regions: int
) -> None:
    folder = shared_data / "real_gold"
    label_map = folder / THIRD / "ogd_coco2017_label_map.json" if format == "odvg" else None

    report, _ = imported(format, folder / name, label_map=label_map)

    assert (counts(report.records), report.rows, report.regions) == (expected, rows, regions)


@pytest.mark.parametrize(("name", "format", "reason"), REFUSED, ids=lambda v: str(v)[:40])
def test_a_file_of_another_kind_is_refused_with_the_reason(
    shared_data: Path, imported: Callable, name: str, format: str, reason: str
) -> None:
    with pytest.raises(GroundswellError, match=reason):
        imported(format, shared_data / "real_gold" / name)


def test_every_file_of_the_folder_is_in_one_of_the_lists(shared_data: Path) -> None:
    """Images, split lists and the list of unrelated captions are parts of what is imported."""
    folder = shared_data / "real_gold"
    listed = {name for name, *_ in WITHOUT_IMAGES} | {name for name, *_ in REFUSED}
    there = {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".jpg" and "flickr30k_entities_sample/" not in str(path)
    }

    assert there - listed == set()


def test_a_crowd_is_ignored_and_a_mask_is_not_kept(shared_data: Path, imported: Callable) -> None:
    path = shared_data / "real_gold" / THIRD / "cocoapi_instances_val2014_100.json"
    crowds = sum(a["iscrowd"] for a in json.loads(path.read_text())["annotations"])

    _, rows = imported("coco", path)

    assert sum(r["fate"] == "ignore" for row in rows for r in row["regions"]) == crowds > 0


def test_images_that_are_there_are_kept_and_the_others_counted(shared_data: Path, imported: Callable) -> None:
    folder = shared_data / "real_gold"
    images = open_images(str(folder / "images"))

    coco, rows = imported("coco", folder / "instances.json", images=images)
    mdetr, _ = imported("mdetr", folder / "detprompt_mixed.json", images=images)

    assert counts(coco.records) == {"annotations": (877, 325, 0, 552), "images": (97, 40, 0, 57)}
    assert counts(mdetr.records) == {
        "annotations": (869, 321, 0, 548),
        "asked phrases": (152, 152, 0, 0),
        "images": (96, 39, 0, 57),
    }
    assert coco.records["images"]["codes"] == {"image_missing": 57}
    assert all(len(row["image_sha256"]) == 64 for row in rows)


def test_copies_in_shards_are_found_by_the_key_map_and_their_boxes_scaled(
    shared_data: Path, imported: Callable
) -> None:
    folder = shared_data / "real_gold"
    shards = open_images(str(shared_data / "real_web" / "*.tar"), folder / "web_key_map.csv")

    report, rows = imported("coco", folder / "instances.json", images=shards)

    assert counts(report.records) == {"annotations": (877, 877, 0, 0), "images": (97, 0, 97, 0)}
    assert report.records["images"]["codes"] == {"scaled_to_stored": 97}
    assert max(max(row["width"], row["height"]) for row in rows) <= 400
    assert all(row["pixels"]["length"] > 0 for row in rows)


def test_sentences_without_their_annotations_are_refused_where_images_are_given(
    shared_data: Path, imported: Callable
) -> None:
    folder = shared_data / "real_gold" / THIRD / "flickr30k_entities_sample"

    with pytest.raises(
        GroundswellError, match=r"40 of 40 captions refused .* 8 of 8 images refused \(boxes_missing\)"
    ):
        imported("flickr30k", folder, images=open_images(str(folder / "images")))


def test_marked_phrases_of_real_sentences_are_spans_of_their_captions(
    shared_data: Path, imported: Callable
) -> None:
    folder = shared_data / "real_gold" / THIRD / "flickr30k_entities_sample"

    report, rows = imported("flickr30k", folder, split=frozenset(["36979"]))

    assert report.facts == {"mentions": 15, "not_visual": 1, "without_box": 14}
    assert rows[0]["caption"].startswith(
        "A group of friends playing cards and trying to bluff each other into"
    )
    assert [phrase["root"] for phrase in rows[0]["phrases"]] == ["group", "card", "mistake"]


@pytest.mark.parametrize(("split", "images"), [("train", 8), ("val", 0), ("test", 0)])
def test_the_authors_split_lists_choose_the_images(
    shared_data: Path, imported: Callable, split: str, images: int
) -> None:
    folder = shared_data / "real_gold" / THIRD / "flickr30k_entities_sample"
    wanted = read_names(folder / f"{split}.txt")

    if not images:
        with pytest.raises(GroundswellError, match=r"8 of 8 images refused \(not_in_split\)"):
            imported("flickr30k", folder, split=wanted)
    else:
        report, _ = imported("flickr30k", folder, split=wanted)
        assert report.records["images"]["kept"] == images


def test_a_label_map_of_strings_with_all_classes_is_read(shared_data: Path) -> None:
    assert len(read_label_map(shared_data / "real_gold" / THIRD / "ogd_coco2017_label_map.json")) == 80


def test_imported_gold_is_what_training_reads_and_gold_without_images_is_refused(
    shared_data: Path, imported: Callable, tmp_path: Path
) -> None:
    folder = shared_data / "real_gold"
    report, _ = imported("coco", folder / "instances.json", images=open_images(str(folder / "images")))
    bare, _ = imported("coco", folder / "instances.json", images=None)
    captions, _ = imported(
        "mdetr", folder / "detprompt_mixed.json", images=open_images(str(folder / "images"))
    )

    stream = load_stream(StreamSettings(url=report.to, share=1))
    assert stream.exhaustive and len(stream.examples) == 40 and stream.kind == "gold"
    with pytest.raises(ConfigError, match="without images"):
        load_stream(StreamSettings(url=bare.to, share=1))
    with pytest.raises(ConfigError, match="gold that does not box everything"):
        load_stream(StreamSettings(url=captions.to, share=1))
    unsaid = StreamSettings(url=captions.to, share=1, prompts=PromptMix(phrase_list=0, detection=0.8))
    assert not load_stream(unsaid).exhaustive
