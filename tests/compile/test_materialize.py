"""Self-contained tars: the labeled bytes beside their labels, the same for the same view."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.reading.shards import open_shard
from engine.settings import InputSettings
from engine.views import open_view, write_view
from pipelines.compile import materialize
from pipelines.compile.materialize import image_suffix, materialize_webdataset
from schemas.digests import sha256_hex
from schemas.errors import ConflictError, NotFoundError


def _image(format: str, shade: int) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(np.full((32, 48, 3), shade, dtype=np.uint8)).save(sink, format)
    return sink.getvalue()


def _view(folder: Path, images: list[bytes], name: str = "view") -> str:
    rows = []
    for index, data in enumerate(images):
        path = folder / f"{name}-{index}"
        path.write_bytes(data)
        phrase = {"begin": 0, "end": 5, "text": "a dog", "root": "dog", "kind": "chunk"}
        region = {"phrase": 0, "x0": 1, "y0": 1, "x1": 9, "y1": 9, "score": 0.5, "pass_index": 0, "weight": 1}
        rows.append(
            {
                "unit": "u",
                "shard": "s.tar",
                "index": index,
                "key": str(index),
                "pixels": {"url": str(path)},
                "image_sha256": sha256_hex(data),
                "width": 48,
                "height": 32,
                "caption": "a dog",
                "phrases": [{**phrase, "groundable": True, "truncated": False, "fate": "positive"}],
                "dropped_phrases": [],
                "regions": [{**region, "fate": "positive", "origin": "teacher"}],
            }
        )
    write_view(str(folder / name), rows, kind="view", provenance={})
    return str(folder / name)


IMAGES = [_image(format, shade) for shade, format in enumerate(("JPEG", "PNG", "WEBP", "JPEG", "BMP"))]


def test_tars_hold_the_labeled_bytes_beside_the_views_rows(tmp_path: Path) -> None:
    view = _view(tmp_path, IMAGES)

    report = materialize_webdataset(view, str(tmp_path / "tars"))

    with tarfile.open(tmp_path / "tars/00000.tar") as tar:
        members = {name: tar.extractfile(name).read() for name in tar.getnames()}  # type: ignore[union-attr]
    images = [data for name, data in members.items() if not name.endswith(".json")]
    rows = [json.loads(data) for name, data in members.items() if name.endswith(".json")]
    assert images == IMAGES
    assert rows == list(open_view(view).rows())
    assert report.samples == 5 and report.digest == open_view(view).manifest.digest


def test_our_own_reader_takes_the_tars_as_input(tmp_path: Path) -> None:
    materialize_webdataset(_view(tmp_path, IMAGES), str(tmp_path / "tars"))
    path = tmp_path / "tars/00000.tar"
    settings = InputSettings(urls=(str(path),), image=("jpg", "png", "webp", "bmp"), caption="json:caption")

    shard = open_shard(path, str(path), settings.reading())

    assert [raw.key for raw in shard.samples(0, len(shard))] == [f"{number:09d}" for number in range(5)]


def test_tars_end_by_samples_or_by_bytes_and_lose_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = _view(tmp_path, IMAGES)
    monkeypatch.setattr(materialize, "SHARD_SAMPLES", 2)
    by_samples = materialize_webdataset(view, str(tmp_path / "a"))
    monkeypatch.setattr(materialize, "SHARD_BYTES", 1)
    by_bytes = materialize_webdataset(view, str(tmp_path / "b"))

    assert [shard.rows for shard in by_samples.shards] == [2, 2, 1]
    assert [shard.rows for shard in by_bytes.shards] == [1, 1, 1, 1, 1]


def test_the_same_view_gives_the_same_bytes_and_another_view_is_refused(tmp_path: Path) -> None:
    view, other = _view(tmp_path, IMAGES), _view(tmp_path, IMAGES[:1], "other")

    first = materialize_webdataset(view, str(tmp_path / "tars"))
    again = materialize_webdataset(view, str(tmp_path / "tars"))

    assert first == again
    with pytest.raises(ConflictError, match="choose another folder"):
        materialize_webdataset(other, str(tmp_path / "tars"))


def test_tars_of_a_replaced_view_are_gone_also_after_a_call_that_was_cut_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view, other = _view(tmp_path, IMAGES), _view(tmp_path, IMAGES[:1], "other")
    monkeypatch.setattr(materialize, "SHARD_SAMPLES", 2)
    materialize_webdataset(view, str(tmp_path / "tars"))
    image = (tmp_path / "other-0").rename(tmp_path / "away")

    with pytest.raises(NotFoundError):
        materialize_webdataset(other, str(tmp_path / "tars"), overwrite=True)
    image.rename(tmp_path / "other-0")
    materialize_webdataset(other, str(tmp_path / "tars"), overwrite=True)

    assert [path.name for path in (tmp_path / "tars").glob("*.tar")] == ["00000.tar"]


def test_tars_without_all_images_have_no_manifest(tmp_path: Path) -> None:
    view = _view(tmp_path, IMAGES)
    (tmp_path / "view-3").unlink()

    with pytest.raises(NotFoundError):
        materialize_webdataset(view, str(tmp_path / "tars"))

    assert not (tmp_path / "tars/materialized.json").exists()


def test_bytes_of_no_known_format_have_no_suffix() -> None:
    with pytest.raises(ValueError, match="of no known format"):
        image_suffix(b"%PDF-1.7")
