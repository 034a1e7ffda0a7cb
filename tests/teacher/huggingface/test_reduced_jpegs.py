"""`teacher.reduce_jpegs`: a JPEG is decoded with fewer pixels where a model needs fewer; boxes stay in its frame."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.ledger.evidence import evidence_rows
from engine.ledger.snapshots.snapshots import latest_snapshot
from engine.reading.images import DecodedImage, decode_image
from engine.reading.raw_samples import SampleSource
from engine.reading.sample_images import decode_sample_image
from engine.storage.store import open_store
from pipelines.label.job import JobConfig
from pipelines.label.run import label
from schemas.errors import SampleRejectedError
from schemas.labeler import Labeler, get_needed_size
from teacher.factories import labeler_digest, make_labeler
from tests.engine.worlds import tar_bytes
from tests.mutations import Mutation
from tests.teacher.huggingface.grounding_dinos import make_sample
from tests.teacher.huggingface.tiny_detectors import save_detector
from tests.teacher.huggingface.tiny_models import save_grounding_dino
from tests.teacher.huggingface.tiny_omdet_sam import save_omdet_turbo, save_sam3
from tests.teacher.huggingface.tiny_owl import save_owl
from tests.teacher.tiny_onnx import write_yolox

HEIGHT, WIDTH = 1000, 1600
ORIENTATION = 0x0112
MUTATIONS = [
    Mutation(
        "schemas/labeler.py", "return sample.height, sample.width", "pass",
        "test_a_reduced_image_is_prepared_as_the_whole_one[owlvit]",
    ),
    Mutation(
        "engine/reading/images.py", "height, width = reversed(needed) if turns else needed",
        "height, width = needed", "test_a_turned_image_has_the_needed_pixels_in_its_own_frame",
    ),
    Mutation(
        "engine/reading/sample_images.py", "        needed_size = _keep_squares(needed_size)", "        pass",
        "test_a_padded_square_is_found_as_without_the_setting",
    ),
]  # fmt: skip


def save_kind(kind: str, folder: Path) -> Path:
    """Save a tiny model of a kind. Every one has an input far below the picture's size."""
    makers: dict[str, Callable[[], Path]] = {
        "grounding-dino": lambda: save_grounding_dino(folder),
        "owlv2": lambda: save_owl(folder, version=2),
        "owlvit": lambda: save_owl(folder, version=1),
        "omdet-turbo": lambda: save_omdet_turbo(folder),
        "sam3": lambda: save_sam3(folder),
        "detector": lambda: save_detector("rt_detr", folder),
    }
    return makers[kind]()


KINDS = ("grounding-dino", "owlv2", "owlvit", "omdet-turbo", "sam3", "detector")


def make_jpeg(width: int = WIDTH, height: int = HEIGHT, orientation: int = 1) -> bytes:
    """Return a smooth picture, so that the order of decoding and resizing hardly matters."""
    y, x = np.mgrid[0:height, 0:width]
    channels = [np.sin(x / 90) * np.cos(y / 70), np.cos(x / 60), np.sin((x + y) / 80)]
    pixels = (np.stack(channels, axis=-1) * 110 + 128).astype(np.uint8)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "JPEG", quality=95, exif=exif)
    return sink.getvalue()


def build(model: Path, kind: str, *, reduce: bool) -> Labeler:
    return make_labeler({"kind": kind, "model": str(model), "reduce_jpegs": reduce}, 1, 0.0)


def get_pixels(prepared: object) -> np.ndarray:
    inputs = prepared.inputs  # type: ignore[attr-defined]
    image = getattr(inputs, "image", None)
    for holder, name in ((inputs, "resized_rgb"), (inputs, "resized_rgb_u8"), (image, "pixels")):
        if hasattr(holder, name):
            return np.asarray(getattr(holder, name), dtype=np.float64)
    raise AssertionError(inputs)


def decode_both(labeler: Labeler, data: bytes) -> tuple[DecodedImage, DecodedImage]:
    whole, reduced = decode_image(data), decode_image(data, get_needed_size(labeler))
    assert (reduced.width, reduced.height) == (whole.width, whole.height)
    assert reduced.rgb_u8.size <= whole.rgb_u8.size / 4
    return whole, reduced


@pytest.mark.parametrize("kind", KINDS)
def test_a_reduced_image_is_prepared_as_the_whole_one(kind, tmp_path):
    model = save_kind(kind, tmp_path / "model")
    plain, reducing = build(model, kind, reduce=False), build(model, kind, reduce=True)
    whole, reduced = decode_both(reducing, make_jpeg())
    sample = make_sample("a dog", ["dog"], size=(HEIGHT, WIDTH))

    expected, found = plain.prepare(sample, whole.rgb_u8), reducing.prepare(sample, reduced.rgb_u8)

    assert get_needed_size(plain) is None
    assert found.bucket == expected.bucket
    assert np.abs(get_pixels(found) - get_pixels(expected)).mean() < 2.0
    regions, others = (one.label([item])[0] for one, item in ((plain, expected), (reducing, found)))
    assert {region.phrase for region in regions} == {region.phrase for region in others}
    assert max([region.x1 for region in others], default=WIDTH) > WIDTH / 2  # pixels of the whole image


def test_glip_prepares_a_reduced_image_as_the_whole_one(glip_folder):
    plain, reducing = (build(glip_folder, "glip", reduce=reduce) for reduce in (False, True))
    whole, reduced = decode_both(reducing, make_jpeg())
    sample = make_sample("a circle", ["circle"], size=(HEIGHT, WIDTH))

    expected, found = plain.prepare(sample, whole.rgb_u8), reducing.prepare(sample, reduced.rgb_u8)

    assert found.bucket == expected.bucket and found.inputs.stored_size == (HEIGHT, WIDTH)
    assert np.abs(get_pixels(found) - get_pixels(expected)).mean() < 2.0


def test_an_onnx_detector_prepares_a_reduced_image_as_the_whole_one(tmp_path):
    model = write_yolox(tmp_path / "yolox.onnx", np.zeros((21, 85), dtype=np.float32))
    plain, reducing = (build(model, "detector", reduce=reduce) for reduce in (False, True))
    whole, reduced = decode_both(reducing, make_jpeg())
    sample = make_sample("a dog", ["dog"], size=(HEIGHT, WIDTH))

    expected, found = plain.prepare(sample, whole.rgb_u8), reducing.prepare(sample, reduced.rgb_u8)

    assert np.abs(get_pixels(found) - get_pixels(expected)).mean() < 2.0
    assert (found.inputs.image.width, found.inputs.image.height) == (WIDTH, HEIGHT)


def test_the_setting_changes_the_digest_and_its_default_does_not(glip_folder):
    values = {"kind": "glip", "model": str(glip_folder)}

    assert labeler_digest({**values, "reduce_jpegs": True}) != labeler_digest(values)
    assert labeler_digest({**values, "reduce_jpegs": False}) == labeler_digest(values)


@pytest.mark.parametrize("needed", [(400, 700), (500, 800), (501, 800), (1000, 1600), (4000, 4000), (1, 1)])
def test_a_decoded_image_never_has_less_than_the_needed_pixels(needed):
    found = decode_image(make_jpeg(), lambda size: needed)

    least = (min(needed[0], HEIGHT), min(needed[1], WIDTH))
    assert found.rgb_u8.shape[0] >= least[0] and found.rgb_u8.shape[1] >= least[1]
    assert (found.height, found.width) == (HEIGHT, WIDTH)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_image_has_the_needed_pixels_in_its_own_frame(orientation):
    data = make_jpeg(orientation=orientation)
    asked: list[tuple[int, int]] = []

    def need(size: tuple[int, int]) -> tuple[int, int]:
        asked.append(size)
        return (size[0] // 2, size[1] // 8)  # half of one side, so half of both

    whole, reduced = decode_image(data), decode_image(data, need)

    assert asked == [whole.rgb_u8.shape[:2]] == [(whole.height, whole.width)]
    assert (reduced.height, reduced.width) == (whole.height, whole.width)
    assert reduced.rgb_u8.shape[:2] == (whole.height // 2, whole.width // 2)
    means = whole.rgb_u8.reshape(whole.height // 2, 2, whole.width // 2, 2, 3).mean(axis=(1, 3))
    assert np.abs(reduced.rgb_u8 - means).mean() < 3


def test_other_formats_are_decoded_whole():
    sink = io.BytesIO()
    Image.new("RGB", (640, 480)).save(sink, "PNG")

    assert decode_image(sink.getvalue(), lambda size: (60, 80)).rgb_u8.shape == (480, 640, 3)


def test_a_padded_square_is_found_as_without_the_setting():
    picture = Image.new("RGB", (512, 512), "white")
    noise = np.random.default_rng(0).integers(0, 255, (256, 512, 3), dtype=np.uint8)
    picture.paste(Image.fromarray(noise), (0, 128))
    sink = io.BytesIO()
    picture.save(sink, "JPEG", quality=95)
    source = SampleSource(original_width=1024, original_height=512)

    details = []
    for needed in (None, lambda size: (64, 64)):
        with pytest.raises(SampleRejectedError) as caught:
            decode_sample_image(sink.getvalue(), source, needed)
        details.append((caught.value.code, caught.value.detail))
    assert details[0] == details[1] and details[0][0] == "FRAME_PADDED"


def test_a_job_stores_sizes_and_boxes_of_the_whole_image(tmp_path):
    model = save_kind("owlv2", tmp_path / "model")
    members = [("a.jpg", make_jpeg(orientation=6)), ("a.txt", b"a red circle")]
    (tmp_path / "a.tar").write_bytes(tar_bytes(members))

    def read(name: str, *, reduce: bool) -> dict[str, object]:
        job = JobConfig.model_validate(
            {
                "input": {"urls": [str(tmp_path / "a.tar")]},
                "phrases": {"pipeline": "lexicon"},
                "teacher": {"kind": "owlv2", "model": str(model), "reduce_jpegs": reduce},
                "evidence": {"min_score": 0.0},
                "output": {"url": str(tmp_path / name)},
                "run": {"executor": "local", "batch_size": 1},
            }
        )
        label(job)
        store = open_store(job.output.url)
        return dict(next(iter(evidence_rows(store, latest_snapshot(store)))))

    whole, reduced = read("whole", reduce=False), read("reduced", reduce=True)

    assert (reduced["width"], reduced["height"]) == (whole["width"], whole["height"]) == (HEIGHT, WIDTH)
    assert reduced["regions"] and len(reduced["regions"]) == len(whole["regions"])
    boxes, others = (
        np.array([[one[side] for side in ("x0", "y0", "x1", "y1")] for one in row["regions"]])
        for row in (reduced, whole)
    )
    farthest_NM = np.abs(boxes[:, None] - others).max(axis=-1)
    assert farthest_NM.min(axis=1).mean() < 0.02 * WIDTH  # random weights answer to every rounding
