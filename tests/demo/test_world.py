"""The tiny world is a pure function of its settings, and its boxes, captions and shards are right."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from webdataset.tariterators import group_by_keys, tar_file_expander

from engine.views import open_view
from pipelines.demo.world.build import World, build_world
from pipelines.demo.world.captions import compose_gold_caption, compose_web_caption
from pipelines.demo.world.gold import draw_gold_scenes
from pipelines.demo.world.lexicon import NOUNS, TAIL_NOUNS, list_vocabulary
from pipelines.demo.world.scenes import draw_nouns, draw_scene
from pipelines.demo.world.settings import WorldSettings
from pipelines.demo.world.shapes import SHAPES
from pipelines.demo.world.web import read_truth
from schemas.digests import sha256_hex
from schemas.errors import ConflictError

SMALL = WorldSettings(seed=3, gold_images=12, web_images=25, web_shard_images=10, test_images=6)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return build_world(tmp_path_factory.mktemp("world"), SMALL)[0]


def _contents(folder: Path) -> dict[str, str]:
    """Return the digest of every file whose bytes do not name the folder (a view's rows have absolute paths)."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and "view" not in path.parts]
    return {
        str(path.relative_to(folder)): sha256_hex(path.read_bytes())
        for path in files
        if path.name != "world.json"
    }


def test_the_same_settings_give_the_same_bytes(world: World, tmp_path: Path) -> None:
    again, rendered = build_world(tmp_path, SMALL)

    assert rendered
    assert _contents(again.folder) == _contents(world.folder)


def test_another_seed_gives_other_scenes() -> None:
    first = next(draw_gold_scenes(SMALL))
    other = next(draw_gold_scenes(SMALL.model_copy(update={"seed": 4})))

    assert not np.array_equal(first[0].image_rgb_u8, other[0].image_rgb_u8)


def test_a_complete_world_is_not_rendered_again_and_another_one_is_refused(world: World) -> None:
    assert build_world(world.folder, SMALL)[1] is False

    with pytest.raises(ConflictError, match="choose another folder"):
        build_world(world.folder, SMALL.model_copy(update={"seed": 9}))


def test_webdataset_reads_the_shards(world: World) -> None:
    samples = []
    for tar in world.web_shards:
        with tar.open("rb") as file:  # webdataset itself leaves the files of local shards open
            source = [{"url": tar.name, "stream": file}]
            samples += list(group_by_keys(tar_file_expander(source)))

    assert [len(tar.name) for tar in world.web_shards] == [9, 9, 9]
    assert len(samples) == SMALL.web_images
    for sample in samples:
        facts = json.loads(sample["json"])
        assert len(sample["__key__"]) == 9 and facts["key"] == sample["__key__"]
        assert facts["sha256"] == sha256_hex(sample["jpg"])
        assert facts["caption"] == sample["txt"].decode()
        assert Image.open(io.BytesIO(sample["jpg"])).size == (facts["width"], facts["height"])


def test_sidecars_count_the_samples_of_the_tar(world: World) -> None:
    for tar, expected in zip(world.web_shards, (10, 10, 5), strict=True):
        stats = json.loads(tar.with_name(f"{tar.stem}_stats.json").read_text())
        assert stats["successes"] == pq.read_table(tar.with_suffix(".parquet")).num_rows == expected


def test_the_web_shards_hold_no_box(world: World) -> None:
    for tar in world.web_shards:
        assert b"box_xyxy" not in tar.read_bytes()
        assert set(pq.read_schema(tar.with_suffix(".parquet")).names).isdisjoint(
            {"boxes", "things", "phrases"}
        )


def test_the_truth_names_every_web_sample_and_its_spans_are_exact(world: World) -> None:
    truth = read_truth(world.web_truth)

    assert len(truth) == SMALL.web_images
    for row in truth.values():
        for phrase in row["phrases"]:
            assert row["caption"][phrase["begin"] : phrase["end"]] == phrase["text"]
            assert all(row["things"][i]["noun"] == phrase["noun"] for i in phrase["things"])


def test_each_tail_noun_is_in_exactly_one_gold_image() -> None:
    settings = WorldSettings(gold_images=20)
    nouns = [{thing.noun for thing in scene.things} for scene, _ in draw_gold_scenes(settings)]

    for noun in TAIL_NOUNS:
        assert sum(noun in row for row in nouns) == 1


def test_gold_captions_mean_every_thing_once(world: World) -> None:
    for row in open_view(world.gold_view).rows():
        assert [region["phrase"] for region in row["regions"]] == list(range(len(row["phrases"])))
        assert all(phrase["fate"] == "positive" for phrase in row["phrases"])


def test_coco_and_view_hold_the_same_gold_boxes(world: World) -> None:
    coco = json.loads((world.folder / "gold" / "coco.json").read_text())
    from_coco = sorted((a["image_id"], *a["bbox"]) for a in coco["annotations"])
    from_view = sorted(
        (row["index"], r["x0"], r["y0"], r["x1"] - r["x0"], r["y1"] - r["y0"])
        for row in open_view(world.gold_view).rows()
        for r in row["regions"]
    )

    assert from_coco == from_view
    captions = {image["id"]: image["caption"] for image in coco["images"]}
    for annotation in coco["annotations"]:
        begin, end = annotation["tokens_positive"][0]
        noun = next(c["name"] for c in coco["categories"] if c["id"] == annotation["category_id"])
        assert captions[annotation["image_id"]][begin:end].endswith(noun)


@pytest.mark.parametrize("number", range(30))
def test_boxes_are_tight_and_inside_and_things_differ(number: int) -> None:
    rng = np.random.default_rng([5, number])
    scene = draw_scene(rng, draw_nouns(rng, 4, 0.5), SMALL)

    assert scene.things
    assert len({(thing.noun, thing.colour) for thing in scene.things}) == len(scene.things)
    for thing in scene.things:
        x0, y0, x1, y1 = thing.box_xyxy_px
        assert 0 <= x0 < x1 <= SMALL.side_px and 0 <= y0 < y1 <= SMALL.side_px
        assert thing.visible >= SMALL.visible_min


def test_a_box_contains_the_colour_that_its_caption_names() -> None:
    settings = SMALL.model_copy(update={"texture_share": 0.0})
    rng = np.random.default_rng(1)
    scene = draw_scene(rng, ["circle"], settings)
    thing = scene.things[0]
    x0, y0, x1, y1 = map(int, thing.box_xyxy_px)
    middle = scene.image_rgb_u8[(y0 + y1) // 2, (x0 + x1) // 2].astype(float)

    from pipelines.demo.world.lexicon import COLOURS

    nearest = min(COLOURS, key=lambda name: np.abs(np.array(COLOURS[name]) - middle).sum())
    assert nearest == thing.colour


def test_sides_in_captions_are_true() -> None:
    for number in range(200):
        rng = np.random.default_rng([6, number])
        scene = draw_scene(rng, draw_nouns(rng, 3, 0.3), SMALL)
        caption = compose_gold_caption(rng, scene.things)
        for before, after in zip(caption.phrases, caption.phrases[1:], strict=False):
            between = caption.text[before.end : after.begin]
            x = [sum(scene.things[p.things[0]].box_xyxy_px[::2]) for p in (before, after)]
            if "left" in between:
                assert x[0] < x[1]
            if "right" in between:
                assert x[0] >= x[1]


def test_web_captions_drop_and_invent_at_the_stated_rates() -> None:
    settings = WorldSettings()
    dropped = absent = things = 0
    for number in range(600):
        rng = np.random.default_rng([7, number])
        scene = draw_scene(rng, ["circle", "star", "ring"], settings)
        caption = compose_web_caption(rng, scene.things, settings.web_tail_share, settings)
        invented = sum(not phrase.things for phrase in caption.phrases)
        absent += invented
        things += len(scene.things)
        dropped += len(scene.things) - (len(caption.phrases) - invented)

    assert 0.18 < dropped / things < 0.30
    assert 0.10 < absent / 600 < 0.20


def test_every_word_of_every_caption_is_in_the_vocabulary(world: World) -> None:
    words = {
        word
        for row in read_truth(world.web_truth).values()
        for word in row["caption"].replace(",", " , ").replace(".", " . ").split()
    }

    assert words <= set(list_vocabulary())
    assert set(SHAPES) == set(NOUNS)


HARD = {
    "style": {"web_style": "poster"},
    "noise": {
        "web_noun_power": 1.0,
        "web_caption_missing": 0.3,
        "web_caption_wrong": 0.3,
        "web_caption_extra": 0.3,
    },
}


@pytest.mark.parametrize("name", HARD)
def test_a_hard_world_changes_the_web_alone(world: World, tmp_path: Path, name: str) -> None:
    hard, _ = build_world(tmp_path, SMALL.model_copy(update=HARD[name]))

    for part in ("gold", "test"):
        assert _contents(hard.folder / part) == _contents(world.folder / part)
    assert _contents(hard.folder / "web") != _contents(world.folder / "web")


def test_the_poster_style_changes_pixels_and_no_truth() -> None:
    scenes = [
        draw_scene(np.random.default_rng(5), ["star", "fish", "ring"], SMALL, style)
        for style in ("gold", "poster")
    ]

    assert scenes[0].things == scenes[1].things
    assert scenes[1].image_rgb_u8.mean() > scenes[0].image_rgb_u8.mean()


def test_noisy_captions_name_more_absent_things_and_fewer_present_ones() -> None:
    counts = {}
    for name, settings in (("base", SMALL), ("noise", SMALL.model_copy(update=HARD["noise"]))):
        phrases, things = [], 0
        for number in range(200):
            rng = np.random.default_rng([9, number])
            scene = draw_scene(rng, draw_nouns(rng, 3, 0.35), settings)
            caption = compose_web_caption(rng, scene.things, 0.35, settings)
            assert all(caption.text[p.begin : p.end] == p.text for p in caption.phrases)
            phrases += caption.phrases
            things += len(scene.things)
        counts[name] = [sum(not p.things for p in phrases), sum(bool(p.things) for p in phrases) / things]

    assert counts["noise"][0] > 2 * counts["base"][0]
    assert counts["noise"][1] < 0.7 * counts["base"][1]


def test_a_long_tail_draws_the_first_nouns_of_a_group_most() -> None:
    rng = np.random.default_rng(0)
    nouns = [noun for _ in range(400) for noun in draw_nouns(rng, 3, 1.0, power=1.0)]
    counts = [nouns.count(noun) for noun in TAIL_NOUNS]

    assert counts == sorted(counts, reverse=True) and counts[0] > 4 * counts[-1]
