"""A detector's images are resized, padded and normalized as transformers does, without torchvision."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from schemas.errors import ConfigError, NotFoundError
from teacher.detectors.directory.images import DetectorImageRules, read_detector_rules
from tests.mutations import Mutation
from tests.teacher.huggingface.tiny_detectors import image_settings

SIZES = [
    (480, 640),
    (640, 480),
    (640, 640),
    (333, 500),
    (61, 1900),
    (1900, 61),
    (800, 1333),
    (16, 16),
    (37, 41),
]
PROCESSORS = {
    "DetrImageProcessor": "detr.image_processing_pil_detr",
    "ConditionalDetrImageProcessor": "conditional_detr.image_processing_pil_conditional_detr",
    "DeformableDetrImageProcessor": "deformable_detr.image_processing_pil_deformable_detr",
    "YolosImageProcessor": "yolos.image_processing_pil_yolos",
    "RTDetrImageProcessor": "rt_detr.image_processing_pil_rt_detr",
}
TYPES = {
    "DetrImageProcessor": "detr",
    "ConditionalDetrImageProcessor": "conditional_detr",
    "DeformableDetrImageProcessor": "deformable_detr",
    "YolosImageProcessor": "yolos",
    "RTDetrImageProcessor": "rt_detr",
}


def write_settings(folder: Path, model_type: str, **values: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    (folder / "preprocessor_config.json").write_text(json.dumps(values))
    return folder


def processor_of(name: str, **values: Any) -> Any:
    module = importlib.import_module(f"transformers.models.{PROCESSORS[name]}")
    return getattr(module, f"{name}Pil")(**values)


def rules_of(folder: Path, pads: bool = True) -> DetectorImageRules:
    return read_detector_rules(folder, pads)


def picture(height: int, width: int) -> np.ndarray:
    patches = np.random.default_rng(0).integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
    return np.ascontiguousarray(patches.repeat(4, axis=0).repeat(4, axis=1)[:height, :width])


@pytest.mark.parametrize("name", PROCESSORS)
@pytest.mark.parametrize(
    "size",
    [
        {"shortest_edge": 200, "longest_edge": 333},
        {"height": 96, "width": 128},
        {"max_height": 96, "max_width": 120},
    ],
)
def test_pixels_are_those_of_the_image_processor(tmp_path: Path, name: str, size: dict[str, int]) -> None:
    values = {**image_settings(TYPES[name]), "size": size}
    rules = rules_of(write_settings(tmp_path, TYPES[name], **values))

    for height, width in ((120, 150), (150, 120), (61, 190), (200, 200)):
        image = picture(height, width)
        resized = rules.resize(image)
        pixels, _ = rules.normalize([resized], (resized.shape[0], resized.shape[1]))
        expected = processor_of(name, **values)(images=[image], return_tensors="np")["pixel_values"]
        assert pixels.shape == expected.shape
        assert np.abs(pixels - expected).max() < 1e-5


@pytest.mark.parametrize("name", PROCESSORS)
def test_sizes_are_those_of_the_image_processor(tmp_path: Path, name: str) -> None:
    rules = rules_of(write_settings(tmp_path, TYPES[name], image_processor_type=name))  # nothing else is said
    processor = processor_of(name)

    for size in SIZES:
        expected = processor.resize(np.zeros((3, *size), np.uint8), processor.size).shape[1:]
        assert rules.target_size(size) == expected, size
    assert (rules.mean != (0, 0, 0)) is processor.do_normalize


@pytest.mark.parametrize(
    "ending", ["ImageProcessor", "ImageProcessorFast", "ImageProcessorPil", "FeatureExtractor"]
)
def test_settings_of_any_age_name_their_processor(tmp_path: Path, ending: str) -> None:
    key = "feature_extractor_type" if ending == "FeatureExtractor" else "image_processor_type"
    rules = rules_of(write_settings(tmp_path, "detr", **{key: f"Yolos{ending}"}, size=800, max_size=1333))

    assert rules.target_size((500, 700)) == (800, 1120) and rules.target_size((500, 707)) == (800, 1120)


def test_a_number_as_size_is_the_shortest_side(tmp_path: Path) -> None:
    old = rules_of(write_settings(tmp_path, "detr", size=800, max_size=1000))
    assert (old.shortest, old.longest, old.exact) == (800, 1000, None)
    without = rules_of(write_settings(tmp_path, "detr", size=600))
    assert (without.shortest, without.longest) == (600, 1333)
    square = rules_of(write_settings(tmp_path, "rt_detr", size=512))
    assert square.exact == (512, 512)


def test_a_very_flat_image_keeps_a_side_of_one_patch(tmp_path: Path) -> None:
    rules = rules_of(write_settings(tmp_path, "yolos", size={"shortest_edge": 64, "longest_edge": 112}))

    assert rules.target_size((16, 512)) == (16, 112)


def test_rf_detr_resizes_without_smoothing(tmp_path: Path) -> None:
    values = image_settings("rf_detr")
    rules = rules_of(write_settings(tmp_path, "rf_detr", **values), pads=False)
    image = picture(300, 401)

    resized = rules.resize(image)

    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    expected = torch.nn.functional.interpolate(pixels, (64, 64), mode="bilinear", align_corners=False)
    assert np.abs(resized - expected[0].permute(1, 2, 0).numpy()).max() <= 0.5
    smooth = rules_of(
        write_settings(tmp_path, "detr", **{**values, "image_processor_type": "DetrImageProcessor"})
    )
    assert np.abs(resized.astype(int) - smooth.resize(image)).max() > 20


def test_images_are_padded_only_for_models_with_a_mask(tmp_path: Path) -> None:
    folder = write_settings(tmp_path, "detr", size={"shortest_edge": 64, "longest_edge": 112})

    assert rules_of(folder, pads=True).compute_padded_size((64, 90), 32) == (64, 96)
    assert rules_of(folder, pads=False).compute_padded_size((64, 90), 32) == (64, 90)
    exact = write_settings(tmp_path / "exact", "rt_detr", size={"height": 50, "width": 70})
    assert rules_of(exact, pads=True).compute_padded_size((50, 70), 32) == (50, 70)


CANVAS = {
    "size": {"max_height": 96, "max_width": 96},
    "do_pad": True,
    "pad_size": {"height": 96, "width": 96},
}
"""Image settings of a model fine-tuned by the guide of transformers."""


@pytest.mark.parametrize("size", [(120, 60), (60, 120), (77, 100), (96, 96)])
def test_boxes_of_a_padded_canvas_come_back_to_where_training_took_them_from(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    """The model learns the labels that its processor makes, so reading must undo them."""
    from teacher.detectors.closed_set import DetectorImage
    from teacher.detectors.directory.detector import find_extent

    values = {**image_settings("conditional_detr"), **CANVAS}
    rules = rules_of(write_settings(tmp_path, "conditional_detr", **values))
    image = picture(*size)
    boxes = [[10.0, 5.0, 30.0, 40.0], [0.0, 0.0, float(size[1]), float(size[0])]]  # xywh
    annotations = [{"bbox": box, "category_id": 1, "area": 1.0, "iscrowd": 0} for box in boxes]

    encoded = processor_of("ConditionalDetrImageProcessor", **values)(
        images=[image], annotations=[{"image_id": 1, "annotations": annotations}], return_tensors="np"
    )

    resized = rules.resize(image)
    assert (
        encoded["pixel_values"].shape[2:]
        == rules.compute_padded_size((resized.shape[0], resized.shape[1]), 32)
        == (96, 96)
    )
    width, height = find_extent(DetectorImage(resized, size[1], size[0], (96, 96)), rules.canvas)
    for (x, y, w, h), (cx, cy, bw, bh) in zip(boxes, encoded["labels"][0]["boxes"].tolist(), strict=True):
        found = ((cx - bw / 2) * width, (cy - bh / 2) * height, bw * width, bh * height)
        assert found == pytest.approx((x, y, w, h), abs=1e-3)


def test_settings_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="say how images are resized"):
        (tmp_path / "none").mkdir()
        rules_of(tmp_path / "none")
    with pytest.raises(ConfigError, match="do_resize is false"):
        rules_of(write_settings(tmp_path, "detr", do_resize=False))
    with pytest.raises(
        ConfigError, match="pad to 64 x 64, but resize to as much as .*correct pad_size or size"
    ):
        rules_of(write_settings(tmp_path, "detr", pad_size={"height": 64, "width": 64}, size=60))
    with pytest.raises(ConfigError, match="image settings cannot be used"):
        rules_of(write_settings(tmp_path, "detr", size={"longest_edge": 800}))
    for broken in ({"pad_size": {"height": 64}}, {"size": {"max_height": "x", "max_width": 3}}):
        with pytest.raises(ConfigError, match="image settings cannot be used"):
            rules_of(write_settings(tmp_path, "detr", **broken))


def test_pixels_that_are_not_rescaled_stay_whole(tmp_path: Path) -> None:
    values = {**image_settings("rt_detr"), "do_rescale": False}
    rules = rules_of(write_settings(tmp_path, "rt_detr", **values))

    pixels, _ = rules.normalize([rules.resize(picture(64, 64))], (64, 64))

    assert pixels.max() > 1 and (pixels == pixels.round()).all()


_IMAGES = "teacher/detectors/directory/images.py"
MUTATIONS = (
    Mutation(
        _IMAGES,
        'values.setdefault("do_normalize", processor.normalizes)',
        "pass",
        "test_sizes_are_those_of_the_image_processor",
    ),
    Mutation(
        _IMAGES,
        "        if not self.pads:",
        "        if False:",
        "test_images_are_padded_only_for_models_with_a_mask",
    ),
    Mutation(
        _IMAGES, "        if self.antialiases:", "        if True:", "test_rf_detr_resizes_without_smoothing"
    ),
    Mutation(
        _IMAGES,
        '"Yolos": _Processor(divisor=_PATCH)',
        '"Yolos": _Processor()',
        "test_sizes_are_those_of_the_image_processor",
    ),
    Mutation(
        _IMAGES,
        "max(height, self.divisor), max(width, self.divisor)",
        "height, width",
        "test_a_very_flat_image_keeps_a_side_of_one_patch",
    ),
    Mutation(
        _IMAGES,
        '        return {"shortest_edge": size, "longest_edge": longest}',
        "        return size",
        "test_a_number_as_size_is_the_shortest_side",
    ),
    Mutation(
        _IMAGES,
        "        if self.canvas is not None:",
        "        if False:",
        "test_boxes_of_a_padded_canvas_come_back_to_where_training_took_them_from",
    ),
    Mutation(
        "teacher/detectors/directory/detector.py",
        "    if canvas is None:",
        "    if True:",
        "test_boxes_of_a_padded_canvas_come_back_to_where_training_took_them_from",
    ),
    Mutation(
        "teacher/huggingface/images.py",
        '    if values.get("do_rescale") is False:',
        "    if False:",
        "test_pixels_that_are_not_rescaled_stay_whole",
    ),
)
"""Each removes a guard. `python -m tests.mutations` shows that the named test fails then."""
