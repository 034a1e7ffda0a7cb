"""Write the web set: captioned scenes without labels, in img2dataset's WebDataset layout, and separately their truth.

Layout (as img2dataset 1.47): `00000.tar` with `<key>.jpg`, `<key>.txt`, `<key>.json`, then `00000.parquet` with one row
per sample, and `00000_stats.json`. Keys have nine digits, shard * 10^4 + row. The truth is in another folder than the
shards, so that no labeling can read it by accident.
"""

from __future__ import annotations

import io
import json
import math
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypedDict, cast

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.demo.world.captions import Caption, compose_web_caption
from pipelines.demo.world.gold import WEB_STREAM, draw_object_count, encode_jpeg, make_stream
from pipelines.demo.world.scenes import Scene, draw_nouns, draw_scene
from pipelines.demo.world.settings import WorldSettings
from schemas.digests import sha256_hex

_ROWS_PER_SHARD_IN_KEY = 10_000
_SIDECAR = pa.schema(
    [
        ("url", pa.string()),
        ("caption", pa.string()),
        ("key", pa.string()),
        ("status", pa.string()),
        ("error_message", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("original_width", pa.int32()),
        ("original_height", pa.int32()),
        ("exif", pa.string()),
        ("sha256", pa.string()),
    ]
)


class TruthThing(TypedDict):
    """A drawn thing: its words, its box in px (half-open) and its visible share."""

    noun: str
    colour: str
    texture: str | None
    box_xyxy_px: tuple[float, float, float, float]
    visible: float


class TruthPhrase(TypedDict):
    """A phrase of a caption, and the indices of the things to which it applies."""

    begin: int
    end: int
    text: str
    noun: str
    things: tuple[int, ...]


class TruthRow(TypedDict):
    """The truth about one web sample: its things, and the phrases of its caption."""

    shard: str
    key: str
    caption: str
    things: list[TruthThing]
    phrases: list[TruthPhrase]


class _SidecarRow(TypedDict):
    """A row of img2dataset's Parquet file for a shard."""

    url: str
    caption: str
    key: str
    status: str
    error_message: str | None
    width: int
    height: int
    original_width: int
    original_height: int
    exif: str
    sha256: str


@dataclass(frozen=True)
class _Sample:
    key: str
    jpeg: bytes
    facts: _SidecarRow
    truth: TruthRow


def write_web(folder: Path, truth_file: Path, settings: WorldSettings) -> list[Path]:
    """Write the shards and the truth. Return the tar files in order."""
    folder.mkdir(parents=True, exist_ok=True)
    truth_file.parent.mkdir(parents=True, exist_ok=True)
    tars = []
    with truth_file.open("w") as truth:
        for shard in range(math.ceil(settings.web_images / settings.web_shard_images)):
            samples = list(_draw_samples(shard, settings))
            tars.append(_write_shard(folder, shard, samples))
            for sample in samples:
                truth.write(json.dumps(sample.truth, sort_keys=True) + "\n")
    return tars


def read_truth(truth_file: Path) -> dict[tuple[str, str], TruthRow]:
    """Read the truth of the web set by (shard file name, key): `things` and the caption's `phrases`."""
    rows: list[TruthRow] = [json.loads(line) for line in truth_file.read_text().splitlines()]
    return {(row["shard"], row["key"]): row for row in rows}


def _draw_samples(shard: int, settings: WorldSettings) -> Iterator[_Sample]:
    first = shard * settings.web_shard_images
    for row in range(min(settings.web_shard_images, settings.web_images - first)):
        rng = make_stream(settings, WEB_STREAM, first + row)
        tail = settings.web_tail_share
        nouns = draw_nouns(rng, draw_object_count(rng, settings), tail, settings.web_noun_power)
        scene = draw_scene(rng, nouns, settings, settings.web_style)
        caption = compose_web_caption(rng, scene.things, tail, settings)
        key = f"{shard * _ROWS_PER_SHARD_IN_KEY + row:09d}"
        jpeg = encode_jpeg(scene.image_rgb_u8, settings.jpeg_quality)
        yield _Sample(
            key, jpeg, _make_facts(key, jpeg, scene, caption), _make_truth(shard, key, scene, caption)
        )


def _make_facts(key: str, jpeg: bytes, scene: Scene, caption: Caption) -> _SidecarRow:
    height, width = scene.image_rgb_u8.shape[:2]
    return {
        "url": f"https://tiny.world.invalid/{key}.jpg",
        "caption": caption.text,
        "key": key,
        "status": "success",
        "error_message": None,
        "width": width,
        "height": height,
        "original_width": width,
        "original_height": height,
        "exif": "{}",
        "sha256": sha256_hex(jpeg),
    }


def _make_truth(shard: int, key: str, scene: Scene, caption: Caption) -> TruthRow:
    return {
        "shard": f"{shard:05d}.tar",
        "key": key,
        "caption": caption.text,
        "things": [cast(TruthThing, asdict(thing)) for thing in scene.things],
        "phrases": [cast(TruthPhrase, asdict(phrase)) for phrase in caption.phrases],
    }


def _write_shard(folder: Path, shard: int, samples: list[_Sample]) -> Path:
    tar_path = folder / f"{shard:05d}.tar"
    with tarfile.open(tar_path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for sample in samples:
            _add(tar, f"{sample.key}.jpg", sample.jpeg)
            _add(tar, f"{sample.key}.txt", sample.facts["caption"].encode())
            _add(tar, f"{sample.key}.json", json.dumps(sample.facts, indent=4).encode())
    table = pa.Table.from_pylist([sample.facts for sample in samples], schema=_SIDECAR)
    pq.write_table(table, folder / f"{shard:05d}.parquet")
    stats = {
        "count": len(samples),
        "successes": len(samples),
        "failed_to_download": 0,
        "failed_to_resize": 0,
        "status_dict": {"success": len(samples)},
    }
    (folder / f"{shard:05d}_stats.json").write_text(json.dumps(stats, indent=4))
    return tar_path


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
