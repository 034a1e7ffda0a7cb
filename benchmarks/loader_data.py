"""The data of the loader's benchmark: tars with a view beside them, small drawings and real photographs."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from PIL import Image

from engine.views import write_view
from pipelines.compile.materialize import materialize_webdataset
from pipelines.demo.initial_model import write_start
from pipelines.demo.world.build import build_world
from pipelines.demo.world.settings import WorldSettings
from schemas.digests import sha256_hex
from schemas.rows import ViewRow
from teacher.models.glip import GlipProcessor

PHOTO_SIDE, PHOTO_LONGER_SIDE = 320, 533


@dataclass(frozen=True)
class Data:
    """Tars, their view, and the model directory whose processor prepares them."""

    name: str
    folder: Path
    start: Path
    exhaustive: bool

    @property
    def view(self) -> str:
        """The view whose pixels lie in the tars."""
        return str(self.folder / "tars" / "view")

    @property
    def tars(self) -> list[str]:
        """Two at least: webdataset gives each of its processes whole tars."""
        return sorted(map(str, (self.folder / "tars").glob("*.tar")))

    @property
    def processor(self) -> GlipProcessor:
        """What resizes, normalizes and tokenizes."""
        return GlipProcessor.from_pretrained(self.start)


def tiny_images(folder: Path, images: int) -> Data:
    """Return the tiny world's gold: 96 px drawings."""
    settings = WorldSettings(gold_images=images, web_images=0, test_images=4)
    world, _ = build_world(folder / "world", settings)
    start = write_start(folder / "start", settings)
    materialize_webdataset(world.gold_view, str(folder / "tars"))
    if len(tars := list((folder / "tars").glob("*.tar"))) == 1:
        _copy_each(tars)
    return Data("tiny world, 96 px", folder, start, exhaustive=True)


def photographs(folder: Path, shards: Path, tiny_start: Path) -> Data:
    """Real photographs and captions; the first word of each stands for a phrase, the whole image for its box."""
    folder.mkdir(parents=True)
    write_view(str(folder / "view"), _photo_rows(shards), kind="view", provenance={})
    materialize_webdataset(str(folder / "view"), str(folder / "tars"))
    _copy_each(sorted((folder / "tars").glob("*.tar")))
    start = folder / "start"
    shutil.copytree(tiny_start, start)
    processor = GlipProcessor.from_pretrained(start)
    processor.shorter_side, processor.longer_side = PHOTO_SIDE, PHOTO_LONGER_SIDE
    processor.save_pretrained(start)
    return Data(f"photographs, {PHOTO_SIDE} px", folder, start, exhaustive=False)


def _copy_each(tars: list[Path]) -> None:
    for tar in tars:
        shutil.copy(tar, tar.with_name(f"again-{tar.name}"))


def _photo_rows(shards: Path) -> Iterator[ViewRow]:
    for number, path in enumerate(sorted(shards.glob("*.tar"))):
        with tarfile.open(path) as tar:
            texts = {
                member.name[:-4]: tar.extractfile(member).read().decode()  # type: ignore[union-attr]
                for member in tar.getmembers()
                if member.name.endswith(".txt")
            }
            images = [member for member in tar.getmembers() if member.name.endswith(".jpg")]
            for index, member in enumerate(images):
                caption = texts.get(member.name[:-4], "")
                if caption.strip():
                    data = tar.extractfile(member).read()  # type: ignore[union-attr]
                    yield _row(f"u{number}", index, path.resolve(), member, data, caption)


def _row(unit: str, index: int, path: Path, member: tarfile.TarInfo, data: bytes, caption: str) -> ViewRow:
    width, height = Image.open(io.BytesIO(data)).size
    word = caption.split()[0]
    begin = caption.index(word)
    phrase = {"begin": begin, "end": begin + len(word), "text": word, "root": word, "kind": "chunk"}
    box = {"x0": 0.0, "y0": 0.0, "x1": float(width), "y1": float(height), "score": 1.0, "pass_index": 0}
    row = {
        "unit": unit,
        "shard": path.name,
        "index": index,
        "key": member.name,
        "pixels": {"url": str(path), "offset": member.offset_data, "length": member.size},
        "image_sha256": sha256_hex(data),
        "width": width,
        "height": height,
        "exif_orientation": 1,
        "caption": caption,
        "phrases": [{**phrase, "groundable": True, "truncated": False, "fate": "positive"}],
        "dropped_phrases": [],
        "regions": [{"phrase": 0, **box, "weight": 1.0, "fate": "positive", "origin": "teacher"}],
    }
    return cast(ViewRow, row)
