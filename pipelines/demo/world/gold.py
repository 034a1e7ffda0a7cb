"""Write the labeled sets of the world (gold and test): scenes and captions as a view of kind gold and as COCO JSON.

Images are JPEG of quality 95 without chroma subsampling. So the real decoder is used, the files have a sixth of the
size of PNG, and colors do not bleed and blur small things.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.view_manifest import ViewManifest
from engine.views import write_view
from pipelines.demo.world.captions import Caption, WorldPhrase, compose_gold_caption, compose_web_caption
from pipelines.demo.world.lexicon import HEAD_NOUNS, NOUNS, TAIL_NOUNS
from pipelines.demo.world.scenes import Scene, draw_nouns, draw_scene
from pipelines.demo.world.settings import WorldSettings
from schemas.digests import sha256_hex
from schemas.rows import ViewPhraseRow, ViewRegionRow, ViewRow

# Random streams. Scene number i of a set is drawn from [seed, stream, i], independently of other scenes.
GOLD_STREAM, WEB_STREAM, TEST_STREAM = 1, 2, 3
CATEGORY_IDS = {noun: number for number, noun in enumerate(NOUNS, start=1)}
GROUPS = {
    "head": [CATEGORY_IDS[noun] for noun in HEAD_NOUNS],
    "tail": [CATEGORY_IDS[noun] for noun in TAIL_NOUNS],
}


class _CocoImage(TypedDict):
    id: int
    file_name: str
    width: int
    height: int
    caption: str


class _CocoAnnotation(TypedDict):
    """One box of one thing: `bbox` is x, y, width, height in px."""

    id: int
    image_id: int
    category_id: int
    bbox: list[float]
    area: float
    iscrowd: int
    tokens_positive: list[list[int]]


class _CocoCategory(TypedDict):
    id: int
    name: str
    supercategory: str


class _Coco(TypedDict):
    info: dict[str, str]
    images: list[_CocoImage]
    annotations: list[_CocoAnnotation]
    categories: list[_CocoCategory]


def make_stream(settings: WorldSettings, which: int, number: int) -> np.random.Generator:
    """Return the random generator of one scene."""
    return np.random.default_rng([settings.seed, which, number])


def encode_jpeg(image_rgb_u8: NDArray[np.uint8], quality: int) -> bytes:
    """Encode an image as JPEG without chroma subsampling."""
    sink = io.BytesIO()
    Image.fromarray(image_rgb_u8).save(sink, "JPEG", quality=quality, subsampling=0)
    return sink.getvalue()


def draw_object_count(rng: np.random.Generator, settings: WorldSettings) -> int:
    """Draw how many things a scene shows at most."""
    return int(rng.integers(settings.objects_min, settings.objects_max + 1))


def draw_gold_scenes(settings: WorldSettings) -> Iterator[tuple[Scene, Caption]]:
    """Draw the gold scenes: head nouns in all, each tail noun in exactly `gold_per_tail_noun` scenes."""
    order = np.random.default_rng([settings.seed, GOLD_STREAM]).permutation(settings.gold_images)
    wanted = [noun for noun in TAIL_NOUNS for _ in range(settings.gold_per_tail_noun)]
    tail_at = dict(zip(order.tolist(), wanted, strict=False))
    for number in range(settings.gold_images):
        rng = make_stream(settings, GOLD_STREAM, number)
        nouns = draw_nouns(rng, draw_object_count(rng, settings), tail_share=0)
        if number in tail_at:
            nouns[0] = tail_at[number]
        scene = draw_scene(rng, nouns, settings)
        yield scene, compose_gold_caption(rng, scene.things)


def draw_test_scenes(settings: WorldSettings) -> Iterator[tuple[Scene, Caption]]:
    """Draw the held-out scenes. Captions have the words of the web, but every phrase names a visible thing."""
    without_noise = settings.careful
    for number in range(settings.test_images):
        rng = make_stream(settings, TEST_STREAM, number)
        scene = draw_scene(
            rng, draw_nouns(rng, draw_object_count(rng, settings), settings.test_tail_share), settings
        )
        yield scene, compose_web_caption(rng, scene.things, settings.test_tail_share, without_noise)


def write_gold(
    folder: Path, name: str, scenes: Iterator[tuple[Scene, Caption]], settings: WorldSettings
) -> ViewManifest:
    """Write `images/`, `coco.json` and `view/` under `folder`. The manifest of the view is written last."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows: list[ViewRow] = []
    coco = _make_empty_coco()
    for number, (scene, caption) in enumerate(scenes):
        data = encode_jpeg(scene.image_rgb_u8, settings.jpeg_quality)
        path = folder / "images" / f"{number:06d}.jpg"
        path.write_bytes(data)
        rows.append(_make_row(name, number, path, data, scene, caption))
        _add_to_coco(coco, number, path.name, scene, caption)
    (folder / "coco.json").write_text(json.dumps(coco, indent=1, sort_keys=True) + "\n")
    return write_view(
        str(folder / "view"),
        rows,
        kind="gold",
        provenance={"source": f"tiny world, {name}", "world": settings.digest()},
    )


def _make_row(name: str, number: int, path: Path, data: bytes, scene: Scene, caption: Caption) -> ViewRow:
    height, width = scene.image_rgb_u8.shape[:2]
    return {
        "unit": name,
        "shard": name,
        "index": number,
        "key": f"{number:06d}",
        "pixels": {
            "url": str(path.resolve()),
            "offset": None,
            "length": None,
            "row_group": None,
            "row": None,
            "column": None,
        },
        "image_sha256": sha256_hex(data),
        "source_url": None,
        "source_sha256": None,
        "license": None,
        "meta": "{}",
        "width": width,
        "height": height,
        "original_width": width,
        "original_height": height,
        "exif_orientation": 1,
        "caption": caption.text,
        "phrases": [_make_phrase(phrase) for phrase in caption.phrases],
        "dropped_phrases": [],
        "regions": [
            _make_region(index, scene.things[thing].box_xyxy_px)
            for index, phrase in enumerate(caption.phrases)
            for thing in phrase.things
        ],
    }


def _make_phrase(phrase: WorldPhrase) -> ViewPhraseRow:
    return {
        "begin": phrase.begin,
        "end": phrase.end,
        "text": phrase.text,
        "root": phrase.noun,
        "kind": "given",
        "groundable": True,
        "truncated": False,
        "fate": "positive",
    }


def _make_region(phrase: int, box_xyxy_px: tuple[float, float, float, float]) -> ViewRegionRow:
    x0, y0, x1, y1 = box_xyxy_px
    return {
        "phrase": phrase,
        "x0": x0,
        "y0": y0,
        "x1": x1,
        "y1": y1,
        "score": 1.0,
        "class_score": None,
        "quality": None,
        "pass_index": 0,
        "p_correct": None,
        "q_value": None,
        "weight": 1.0,
        "fate": "positive",
        "origin": "human",
    }


def _make_empty_coco() -> _Coco:
    tail = set(TAIL_NOUNS)
    categories: list[_CocoCategory] = [
        {"id": number, "name": noun, "supercategory": "tail" if noun in tail else "head"}
        for noun, number in CATEGORY_IDS.items()
    ]
    return {"info": {"description": "tiny world"}, "images": [], "annotations": [], "categories": categories}


def _add_to_coco(coco: _Coco, number: int, file_name: str, scene: Scene, caption: Caption) -> None:
    height, width = scene.image_rgb_u8.shape[:2]
    coco["images"].append(
        {"id": number, "file_name": file_name, "width": width, "height": height, "caption": caption.text}
    )
    for index, thing in enumerate(scene.things):
        x0, y0, x1, y1 = thing.box_xyxy_px
        spans = [[phrase.begin, phrase.end] for phrase in caption.phrases if index in phrase.things]
        coco["annotations"].append(
            {
                "id": len(coco["annotations"]) + 1,
                "image_id": number,
                "category_id": CATEGORY_IDS[thing.noun],
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": (x1 - x0) * (y1 - y0),
                "iscrowd": 0,
                "tokens_positive": spans,
            }
        )
