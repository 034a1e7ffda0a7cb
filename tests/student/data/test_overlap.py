"""No training on images that the student will be measured on, and a teacher that says which images it has seen."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from engine.views import open_view, write_view
from pipelines.demo.world.build import World
from schemas.errors import ConfigError, ConflictError
from student.data.overlap import check_overlap
from student.data.perceptual_hash import nearest, perceptual_hash
from student.data.trained_images import digest_prefixes, read_trained_images
from student.settings.train import TrainSettings
from student.training.train import train


def landscape(seed: int = 0, size: int = 96) -> np.ndarray:
    """Return a soft random picture, as photographs are soft."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC))


def compressed(image: np.ndarray, quality: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def evaluation_of(rows: list[dict], folder: Path) -> str:
    write_view(str(folder), rows, kind="gold", provenance={})
    return str(folder)


def hidden(rows: list[dict]) -> list[dict]:
    """Return the same images with other digests, as if their bytes differed."""
    return [{**row, "image_sha256": f"{number:064x}"} for number, row in enumerate(rows)]


def test_an_image_with_equal_bytes_stops_the_training(
    two_streams: TrainSettings, tiny_world: World, tmp_path: Path
) -> None:
    rows = list(open_view(tiny_world.gold_view).rows())[:3]
    settings = two_streams.model_copy(
        update={"evaluation": (evaluation_of(rows, tmp_path / "test"),), "overlap_bits": None}
    )

    with pytest.raises(
        ConflictError, match=r"3 of 20 training images .* \(3 with equal bytes, 0 that look alike\)"
    ):
        train(settings)
    assert not (Path(settings.out) / "metrics.jsonl").exists()


def test_an_image_that_looks_alike_is_found_whatever_its_bytes(
    two_streams: TrainSettings, tiny_world: World, tmp_path: Path
) -> None:
    rows = hidden(list(open_view(tiny_world.gold_view).rows())[:2])
    settings = two_streams.model_copy(
        update={"evaluation": (evaluation_of(rows, tmp_path / "test"),), "overlap_bits": 0}
    )

    with pytest.raises(ConflictError, match="2 that look alike"):
        check_overlap(settings)
    assert check_overlap(settings.model_copy(update={"overlap_bits": None}))["alike"] == 0


def test_an_overlap_that_is_allowed_is_told_in_the_card(
    two_streams: TrainSettings, tiny_world: World, tmp_path: Path
) -> None:
    rows = list(open_view(tiny_world.gold_view).rows())[:3]
    test = evaluation_of(rows, tmp_path / "test")
    report = train(
        two_streams.model_copy(
            update={"evaluation": (test,), "overlap_bits": None, "allow_overlap": True, "steps": 1}
        )
    )

    card = (Path(two_streams.out) / "model" / "README.md").read_text()
    assert report["overlap"]["equal"] == 3
    assert "Of 20 training images and 3 evaluation images, with equal bytes: 3" in card


def test_a_finished_run_is_looked_at_too(
    two_streams: TrainSettings, tiny_world: World, tmp_path: Path
) -> None:
    short = two_streams.model_copy(update={"steps": 1, "overlap_bits": None})
    train(short)
    test = evaluation_of(list(open_view(tiny_world.gold_view).rows())[:3], tmp_path / "test")

    with pytest.raises(ConflictError, match="3 of 20"):
        train(short.model_copy(update={"evaluation": (test,)}))


def test_a_model_says_which_images_it_and_its_start_were_trained_on(
    two_streams: TrainSettings, tiny_world: World, tmp_path: Path
) -> None:
    rows = list(open_view(tiny_world.gold_view).rows())
    halves = []
    for number, part in enumerate((rows[:8], rows[8:])):
        url = evaluation_of(part, tmp_path / f"half{number}")
        streams = tuple(stream.model_copy(update={"url": url}) for stream in two_streams.streams)
        halves.append(two_streams.model_copy(update={"streams": streams, "steps": 1, "out": url + "-run"}))
    first = train(halves[0])
    second = train(halves[1].model_copy(update={"start": halves[0].out + "/model"}))

    assert (first["trained_images"], second["trained_images"]) == (8, 20)
    known = read_trained_images(Path(halves[1].out) / "model")
    assert np.isin(digest_prefixes(row["image_sha256"] for row in rows), known).all()
    assert not np.isin(digest_prefixes(["ab" * 32]), known).any()


@pytest.mark.parametrize("seed", range(8))
def test_a_copy_that_was_resized_or_compressed_again_keeps_its_hash(seed: int) -> None:
    whole = landscape(seed, 240)
    small = np.asarray(Image.fromarray(whole).resize((120, 120), Image.Resampling.BILINEAR))
    again = np.asarray(Image.open(io.BytesIO(compressed(whole, 40))))
    known = np.array([perceptual_hash(whole)], dtype=np.uint64)

    assert max(nearest(perceptual_hash(copy), known) for copy in (small, again)) <= 4


def test_different_pictures_are_far_apart() -> None:
    hashes = np.array([perceptual_hash(landscape(seed)) for seed in range(60)], dtype=np.uint64)
    others = [nearest(int(one), np.delete(hashes, number)) for number, one in enumerate(hashes)]

    assert min(others) > 8


def test_a_plain_area_has_no_hash() -> None:
    assert perceptual_hash(np.full((50, 70, 3), 200, dtype=np.uint8)) is None


@given(st.integers(0, 2**64 - 1), st.lists(st.integers(0, 2**64 - 1), max_size=5))
def test_the_nearest_hash_is_counted_bit_by_bit(one: int, known: list[int]) -> None:
    expected = min((bin(one ^ other).count("1") for other in known), default=65)

    assert nearest(one, np.array(known, dtype=np.uint64)) == expected


def test_an_evaluation_set_without_images_is_refused(
    two_streams: TrainSettings, tiny_world: World, tmp_path: Path
) -> None:
    rows = [{**row, "image_sha256": None, "pixels": None} for row in open_view(tiny_world.gold_view).rows()]
    write_view(str(tmp_path / "test"), rows, kind="gold", provenance={"without_images": True})
    settings = two_streams.model_copy(update={"evaluation": (str(tmp_path / "test"),), "overlap_bits": None})

    with pytest.raises(ConfigError, match="imported without images"):
        check_overlap(settings)


def test_counts_that_were_kept_and_cannot_be_read_are_counted_again(
    two_streams: TrainSettings, tiny_world: World, tmp_path: Path
) -> None:
    rows = hidden(list(open_view(tiny_world.gold_view).rows())[:1])
    settings = two_streams.model_copy(
        update={"evaluation": (evaluation_of(rows, tmp_path / "test"),), "overlap_bits": None}
    )
    found = check_overlap(settings)
    (Path(settings.out) / "overlap.json").write_text('{"key": ')

    assert check_overlap(settings) == found
