"""Directories of transformers' object detectors: regions are the boxes of the logits, whatever the batch."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.worker.batching import label_in_batches
from schemas.errors import ConfigError, NotFoundError, RuntimeEnvironmentError
from schemas.labeler import PreparedSample
from schemas.records import Phrase, Pixels, Region, Sample
from teacher.detectors.closed_set import Detections, DetectorImage
from teacher.detectors.directory.detector import DirectoryDetector
from teacher.factories import labeler_digest, make_labeler
from teacher.labelers.detector_labeler import DetectorLabeler
from tests.mutations import Mutation
from tests.teacher.huggingface.tiny_detectors import NAMES, RECIPES, SIDE, save_detector
from tests.teacher.tiny_onnx import ANCHORS, write_yolox

SOFTMAX = {"detr", "table-transformer", "yolos"}
"""Model types whose last logit is "no object", by the papers."""
MASKED = {"detr", "table-transformer", "conditional_detr", "dab-detr", "deformable_detr"}
PIL = {
    "detr": "detr.image_processing_pil_detr.DetrImageProcessorPil",
    "table-transformer": "detr.image_processing_pil_detr.DetrImageProcessorPil",
    "conditional_detr": "conditional_detr.image_processing_pil_conditional_detr.ConditionalDetrImageProcessorPil",
    "dab-detr": "conditional_detr.image_processing_pil_conditional_detr.ConditionalDetrImageProcessorPil",
    "deformable_detr": "deformable_detr.image_processing_pil_deformable_detr.DeformableDetrImageProcessorPil",
    "yolos": "yolos.image_processing_pil_yolos.YolosImageProcessorPil",
    "lw_detr": "deformable_detr.image_processing_pil_deformable_detr.DeformableDetrImageProcessorPil",
    "rt_detr": "rt_detr.image_processing_pil_rt_detr.RTDetrImageProcessorPil",
    "rt_detr_v2": "rt_detr.image_processing_pil_rt_detr.RTDetrImageProcessorPil",
    "d_fine": "rt_detr.image_processing_pil_rt_detr.RTDetrImageProcessorPil",
    "deimv2": "rt_detr.image_processing_pil_rt_detr.RTDetrImageProcessorPil",
}
"""Image processors of transformers that need no torchvision."""
NO_PIL = {"rf_detr"}
CLASSES = [name for name in NAMES if name != "N/A"]
MIN_SCORE = 0.05

Folders = Callable[[str], Path]


@dataclass(frozen=True)
class Box:
    """A box of one class, as the direct reading has it."""

    label: str
    score: float
    xyxy_px: tuple[float, ...]


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Make each tiny model once, when it is first asked for."""
    made: dict[str, Path] = {}

    def find(kind: str) -> Path:
        if kind not in made:
            made[kind] = save_detector(kind, tmp_path_factory.mktemp(kind) / "model")
        return made[kind]

    return find


def picture(seed: int, height: int, width: int) -> np.ndarray:
    """Return patches of random colours: not noise, which resizing makes gray."""
    patches = np.random.default_rng(seed).integers(
        0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8
    )
    return np.ascontiguousarray(patches.repeat(8, axis=0).repeat(8, axis=1)[:height, :width])


def sample_of(image: np.ndarray, *texts: str, kind: str = "chunk") -> Sample:
    caption = ", ".join(texts)
    phrases = [
        Phrase(begin=caption.index(t), end=caption.index(t) + len(t), text=t, root=t.split()[-1], kind=kind)  # type: ignore[arg-type]
        for t in texts
    ]
    return Sample(
        unit="u", shard="s", index=0, key="k", pixels=Pixels(url="file"), image_sha256="0", caption=caption,
        width=image.shape[1], height=image.shape[0], phrases=tuple(phrases),
    )  # fmt: skip


def labeler_of(folder: Path, batch_size: int = 1, **settings: Any) -> DetectorLabeler:
    made = make_labeler({"kind": "detector", "model": str(folder), **settings}, batch_size, MIN_SCORE)
    assert isinstance(made, DetectorLabeler)
    return made


def find_regions(labeler: DetectorLabeler, image: np.ndarray, texts: Sequence[str] = CLASSES) -> list[Region]:
    (answer,) = label_in_batches(labeler, [(0, labeler.prepare(sample_of(image, *texts), image))])
    assert answer.rejected is None, answer.rejected
    return list(answer.regions)


# ---- the direct reading: transformers' own image processor, the model, the logits


def preprocess(kind: str, folder: Path, image: np.ndarray, **call: Any) -> dict[str, torch.Tensor]:
    """Return the model's inputs for one image."""
    values = json.loads((folder / "preprocessor_config.json").read_text())
    if (
        kind in NO_PIL
    ):  # resize without smoothing (here rounded, as resized images are kept), rescale, normalize
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
        pixels = torch.nn.functional.interpolate(pixels, (SIDE, SIDE), mode="bilinear", align_corners=False)
        mean, std = (torch.tensor(values[name])[:, None, None] for name in ("image_mean", "image_std"))
        return {"pixel_values": (pixels.round() / 255 - mean) / std}
    import importlib

    module, _, name = PIL[kind].rpartition(".")
    processor = getattr(importlib.import_module(f"transformers.models.{module}"), name)(**values)
    inputs = dict(processor(images=[image], return_tensors="pt", **call))
    if kind == "yolos":
        inputs.pop("pixel_mask", None)
    return inputs


def read_directly(kind: str, folder: Path, image: np.ndarray, pad_to: int = 1) -> list[Box]:
    """Return all boxes of all classes with enough score, best first.

    pad_to: sides are padded to multiples of this, with a mask
    """
    from transformers import AutoModelForObjectDetection

    model = AutoModelForObjectDetection.from_pretrained(folder).eval()
    inputs = preprocess(kind, folder, image)
    if pad_to > 1:
        height, width = inputs["pixel_values"].shape[-2:]
        extra = (0, -width % pad_to, 0, -height % pad_to)
        inputs = {name: torch.nn.functional.pad(value, extra) for name, value in inputs.items()}
    with torch.inference_mode():
        outputs = model(**inputs)
    logits, boxes = outputs.logits[0], outputs.pred_boxes[0].double()
    scores = logits.softmax(-1)[:, :-1] if kind in SOFTMAX else logits.sigmoid()
    height, width = image.shape[:2]
    found = []
    for query in range(len(logits)):
        x, y, w, h = boxes[query].tolist()
        corners = ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
        x0, x1 = (min(max(corners[n], 0), width) for n in (0, 2))
        y0, y1 = (min(max(corners[n], 0), height) for n in (1, 3))
        for number, name in enumerate(NAMES):
            if name != "N/A" and scores[query, number] >= MIN_SCORE and x1 > x0 and y1 > y0:
                found.append(Box(name, float(scores[query, number]), (x0, y0, x1, y1)))
    return sorted(found, key=lambda box: (CLASSES.index(box.label), -box.score))


def check_equal(regions: Sequence[Region], boxes: Sequence[Box]) -> None:
    """Fail unless the regions are the boxes: each of the same class, score and place, one for one."""
    assert len(regions) == len(boxes)
    left = list(boxes)
    for region in regions:
        own = [box for box in left if box.label == CLASSES[region.phrase]]
        corners = (region.x0, region.y0, region.x1, region.y1)
        equal = (
            box
            for box in own
            if box.score == pytest.approx(region.score, abs=1e-5)
            and box.xyxy_px == pytest.approx(corners, abs=2e-3)
        )
        match = next(equal, None)
        assert match is not None, (region, own)
        left.remove(match)


@pytest.mark.parametrize("kind", RECIPES)
def test_regions_are_the_boxes_of_the_logits(folders: Folders, kind: str) -> None:
    image = picture(1, 80, 120)

    regions = find_regions(labeler_of(folders(kind), pad_multiple=1), image)

    boxes = read_directly(kind, folders(kind), image)
    assert len(boxes) > 10 and len({box.label for box in boxes}) > 1
    check_equal(regions, boxes)


@pytest.mark.parametrize("kind", sorted(MASKED))
def test_padding_to_share_batches_is_masked_and_boxes_are_of_the_image(folders: Folders, kind: str) -> None:
    image = picture(2, 80, 100)
    labeler = labeler_of(folders(kind))

    prepared = labeler.prepare(sample_of(image, *CLASSES), image)

    assert prepared.inputs.image.pixels.shape == (64, 80, 3) and prepared.bucket == (64, 96)
    check_equal(find_regions(labeler, image), read_directly(kind, folders(kind), image, pad_to=32))


@pytest.mark.parametrize("kind", ["yolos", "rt_detr"])
def test_a_model_that_takes_no_mask_gets_no_padding(folders: Folders, tmp_path: Path, kind: str) -> None:
    folder = save_detector(kind, tmp_path / "m", size={"shortest_edge": 96, "longest_edge": 192})
    image = picture(3, 70, 140)

    prepared = labeler_of(folder, pad_multiple=160).prepare(sample_of(image, "a cat"), image)

    assert prepared.bucket == prepared.inputs.image.pixels.shape[:2] == (96, 192)


@pytest.mark.parametrize("kind", RECIPES)
def test_many_at_once_give_what_one_by_one_gives(folders: Folders, kind: str) -> None:
    sizes = [(80, 120), (80, 120), (60, 90), (128, 64), (80, 116), (96, 96), (80, 120)]
    texts = [
        CLASSES,
        ["a man"],
        ["a dream"],
        ["cats", "a red car", "cats"],
        [],
        ["two horses"],
        ["a dog", "trees"],
    ]
    images = [picture(number, *size) for number, size in enumerate(sizes)]
    labeler = labeler_of(folders(kind), 4)
    asked = [labeler.prepare(sample_of(image, *own), image) for image, own in zip(images, texts, strict=True)]

    together = {
        answer.position: answer.regions for answer in label_in_batches(labeler, list(enumerate(asked)))
    }
    reversed_order = label_in_batches(labeler, [(n, asked[n]) for n in reversed(range(len(asked)))])

    alone = [labeler.label([one, None, None, None])[0] for one in asked]
    assert sum(map(len, alone)) > 30 and not alone[2] and not alone[4]
    for regions in (together, {answer.position: answer.regions for answer in reversed_order}):
        for number, own in enumerate(alone):
            check_same(regions[number], own)


def check_same(regions: Sequence[Region], others: Sequence[Region]) -> None:
    """Fail unless two lists of regions are equal within 1e-5 of the image's side."""
    assert [region.phrase for region in regions] == [region.phrase for region in others]
    for one, other in zip(regions, others, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-5)
        sides = ((one.x0, other.x0), (one.y0, other.y0), (one.x1, other.x1), (one.y1, other.y1))
        assert all(a == pytest.approx(b, abs=1e-3) for a, b in sides)


def test_padding_is_measured(folders: Folders, tmp_path: Path) -> None:
    image = picture(2, 80, 100)
    sample = sample_of(image, *CLASSES)

    padded = labeler_of(folders("detr")).prepare(sample, image)  # 64 x 80 in 64 x 96
    stretched = labeler_of(folders("rt_detr")).prepare_decoys(sample, image)
    onnx = write_yolox(tmp_path / "m.onnx", np.zeros((ANCHORS, 85), np.float32))
    letterboxed = labeler_of(onnx).prepare(sample, image)

    assert (padded.filled, stretched.filled) == (80 / 96, 1.0)
    assert letterboxed.filled == pytest.approx(0.8, abs=0.03)


def test_boxes_in_the_padding_of_a_canvas_are_left_out(tmp_path: Path) -> None:
    from transformers import AutoModelForObjectDetection

    canvas = {"size": {"max_height": 96, "max_width": 96}, "pad_size": {"height": 96, "width": 96}}
    folder = save_detector("deformable_detr", tmp_path / "m", **canvas)
    image = picture(11, 120, 80)  # 96 x 64 on the canvas

    regions = find_regions(labeler_of(folder), image)

    inputs = preprocess("deformable_detr", folder, image)
    assert inputs["pixel_values"].shape[-2:] == (96, 96)
    with torch.inference_mode():
        outputs = AutoModelForObjectDetection.from_pretrained(folder).eval()(**inputs)
    boxes, dropped = [], 0
    for logits, (x, y, w, h) in zip(outputs.logits[0], outputs.pred_boxes[0].double().tolist(), strict=True):
        x0, y0, x1, y1 = (side * 120 for side in (x - w / 2, y - h / 2, x + w / 2, y + h / 2))
        corners = (max(x0, 0), max(y0, 0), min(x1, 80), min(y1, 120))
        for name, score in zip(NAMES, logits.sigmoid().tolist(), strict=True):
            if name == "N/A" or score < MIN_SCORE:
                continue
            if x0 < 80:
                boxes.append(Box(name, score, corners))
            dropped += x0 >= 80
    assert dropped > 5 and len(boxes) > 5
    check_equal(regions, boxes)


def test_boxes_come_best_first_for_each_phrase(folders: Folders) -> None:
    for region, following in itertools.pairwise(
        find_regions(labeler_of(folders("d_fine")), picture(12, 64, 64))
    ):
        assert region.phrase < following.phrase or region.score >= following.score


def test_the_model_does_not_run_where_no_phrase_names_a_class(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    labeler = labeler_of(folders("rt_detr"))
    image = picture(13, 64, 64)
    asked = labeler.prepare(sample_of(image, "a dream"), image)
    monkeypatch.setattr(DirectoryDetector, "detect_batch", None)

    assert labeler.label([asked]) == [[]]


def test_repeated_phrases_and_phrases_of_one_class_all_get_its_boxes(folders: Folders) -> None:
    image = picture(4, 80, 80)

    regions = find_regions(labeler_of(folders("rt_detr")), image, ["a kitten", "the cat", "two black cats"])

    own = [[(r.x0, r.y0, r.score) for r in regions if r.phrase == number] for number in range(3)]
    assert own[0] and own[0] == own[1] == own[2]


# ---- what cannot be used is refused or rejected


def test_scores_that_are_not_finite_reject_their_sample_alone(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    labeler = labeler_of(folders("detr"), 2)
    images = [picture(5, 80, 120), np.zeros((80, 120, 3), np.uint8)]
    asked = [labeler.prepare(sample_of(image, "a cat"), image) for image in images]
    read = DirectoryDetector._read

    def spoil(self: DirectoryDetector, image: DetectorImage, scores: np.ndarray, *more: Any) -> Detections:
        return read(self, image, scores if image.pixels.any() else scores * np.nan, *more)

    monkeypatch.setattr(DirectoryDetector, "_read", spoil)

    answers = list(label_in_batches(labeler, list(enumerate(asked))))

    assert [None if a.rejected is None else a.rejected.code for a in answers] == [None, "TEACHER_NONFINITE"]


def test_a_model_class_without_class_scores_ends_the_run(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    labeler = labeler_of(folders("rt_detr"))
    image = picture(6, 64, 64)
    monkeypatch.setattr(labeler._detector, "_model", lambda **_: {"last_hidden_state": 0})

    with pytest.raises(RuntimeEnvironmentError, match="no logits and pred_boxes"):
        find_regions(labeler, image)


def test_logits_of_another_width_end_the_run(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    labeler = labeler_of(folders("detr"))
    assert isinstance(labeler._detector, DirectoryDetector)
    monkeypatch.setattr(labeler._detector, "class_names", (*NAMES, "one more"))

    with pytest.raises(
        RuntimeEnvironmentError, match="7 logits for 7 classes; expected .* and one for no object"
    ):
        find_regions(labeler, picture(6, 64, 64))


def test_a_size_on_which_the_model_cannot_run_is_refused_when_it_is_loaded(tmp_path: Path) -> None:
    """RF-DETR cuts images into patches and windows: not every size works, and its default does not."""
    folder = save_detector("rf_detr", tmp_path / "m", size={"height": SIDE + 16, "width": SIDE + 16})

    with pytest.raises(ConfigError, match="cannot be run on images of 80 x 80 pixels .*correct `size` there"):
        labeler_of(folder)


def test_weights_that_are_missing_are_refused(folders: Folders, tmp_path: Path) -> None:
    from transformers import DetrModel

    DetrModel.from_pretrained(folders("detr")).save_pretrained(tmp_path)
    config = json.loads((folders("detr") / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "preprocessor_config.json").write_text(
        (folders("detr") / "preprocessor_config.json").read_text()
    )

    with pytest.raises(ConfigError, match="weights of its model class are not in its files .*random"):
        labeler_of(tmp_path)


def test_a_weights_file_that_is_cut_off_is_named_with_a_remedy(folders: Folders, tmp_path: Path) -> None:
    folder = copy_of(folders("detr"), tmp_path)
    whole = (folder / "model.safetensors").read_bytes()

    for length in (len(whole) // 2, 100, 4):
        (folder / "model.safetensors").write_bytes(whole[:length])
        with pytest.raises(ConfigError, match="copy cannot be loaded .*; copy all files of the model again"):
            labeler_of(folder)


def test_loading_writes_nothing_to_the_terminal(folders: Folders, capfd: pytest.CaptureFixture[str]) -> None:
    folder = folders("detr")
    capfd.readouterr()

    labeler_of(folder)

    assert capfd.readouterr() == ("", "")


def test_names_must_be_as_many_as_the_models_classes(tmp_path: Path) -> None:
    folder = save_detector("rt_detr", tmp_path / "m", names=["LABEL_0", "LABEL_1"])
    config = json.loads((folder / "config.json").read_text())
    for name in ("id2label", "label2id"):  # the default of transformers is two classes
        config.pop(name, None)
    (folder / "config.json").write_text(json.dumps(config))

    with pytest.raises(ConfigError, match="3 names for 2 classes"):
        labeler_of(folder, classes=["cat", "dog", "cow"])
    assert labeler_of(folder, classes=["cat", "dog"])


def test_a_backbone_of_timm_that_is_not_installed_is_named(folders: Folders, tmp_path: Path) -> None:
    folder = copy_of(folders("detr"), tmp_path, "config.json", backbone_config=None, use_timm_backbone=True)

    with pytest.raises(ConfigError, match="timm.*install it or take a revision"):
        labeler_of(folder)


def test_only_safetensors_are_read(folders: Folders, tmp_path: Path) -> None:
    folder = copy_of(folders("detr"), tmp_path)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    with pytest.raises(NotFoundError, match=r"only pytorch_model\.bin"):
        labeler_of(folder)


def test_weights_of_half_precision_run_in_float32(folders: Folders, tmp_path: Path) -> None:
    from transformers import AutoModelForObjectDetection

    folder = copy_of(folders("rt_detr"), tmp_path)
    AutoModelForObjectDetection.from_pretrained(folder).half().save_pretrained(folder)

    assert find_regions(labeler_of(folder), picture(7, 64, 64))


def copy_of(folder: Path, place: Path, file: str = "config.json", **changes: Any) -> Path:
    """Return a copy of a model directory with entries of one JSON file changed. `...` removes one."""
    copy = place / "copy"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    if not changes:
        return copy
    values = {**json.loads((copy / file).read_text()), **changes}
    (copy / file).write_text(json.dumps({name: value for name, value in values.items() if value is not ...}))
    return copy


# ---- settings and digest


def test_the_digest_follows_everything_that_decides_regions(folders: Folders, tmp_path: Path) -> None:
    folder = folders("rt_detr")

    def digest(model: Path = folder, **settings: Any) -> str:
        return labeler_digest({"kind": "detector", "model": str(model), **settings})

    same = copy_of(folder, tmp_path)
    (same / "README.md").write_text("a card")
    assert digest() == labeler_of(folder).digest == digest(same) == digest(device="cpu")
    others = [
        digest(classes=["x", *CLASSES]),
        digest(precision="bf16"),
        digest(channels_last=True),
        digest(compile=True),
        digest(pad_multiple=64),
    ]
    (same / "preprocessor_config.json").write_text("{}")
    others.append(digest(same))
    assert len({digest(), *others}) == 7


def test_a_setting_without_effect_on_the_model_is_refused(folders: Folders, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"weights")
    directory = {"kind": "detector", "model": str(folders("rt_detr"))}
    onnx = {"kind": "detector", "model": str(tmp_path / "m.onnx")}

    with pytest.raises(
        ConfigError, match=r"teacher\.nms_iou is 0\.5, which has no effect on a model directory"
    ):
        labeler_digest({**directory, "nms_iou": 0.5})
    for name, value in (("precision", "bf16"), ("device", "cuda"), ("compile", True), ("pad_multiple", 64)):
        with pytest.raises(ConfigError, match=rf"teacher\.{name} is .*, which has no effect on an ONNX file"):
            labeler_digest({**onnx, name: value})
    assert labeler_digest({**onnx, "device": "cpu"}) == labeler_digest(onnx)


@pytest.mark.parametrize("option", [{"precision": "bf16"}, {"channels_last": True}])
def test_a_lower_precision_and_channels_last_run(folders: Folders, option: dict[str, Any]) -> None:
    image = picture(8, 80, 120)

    regions = find_regions(labeler_of(folders("deformable_detr"), **option), image)

    plain = find_regions(labeler_of(folders("deformable_detr")), image)
    assert max(r.score for r in regions) == pytest.approx(max(r.score for r in plain), abs=0.02)


def test_score_and_its_kind_are_those_of_the_class(folders: Folders) -> None:
    labeler = labeler_of(folders("detr"))

    region = find_regions(labeler, picture(9, 64, 64))[0]

    assert labeler.score_kind == "detector.class_score"
    assert (region.class_score, region.quality) == (None, None)


def test_decoys_are_asked_in_a_pass_of_their_own(folders: Folders) -> None:
    labeler = labeler_of(folders("rt_detr"))
    image = picture(10, 64, 64)
    sample = sample_of(image, "a man")
    decoys = tuple(Phrase(text=noun, root=noun, kind="decoy") for noun in ("cat", "golfer", "carpet"))
    asked = sample.model_copy(update={"phrases": (*sample.phrases, *decoys)})

    prepared: PreparedSample = labeler.prepare_decoys(asked, image)

    assert prepared.second_pass and prepared.dropped == ((2, "PH_NO_CLASS"), (3, "PH_NO_CLASS"))
    regions = labeler.label([prepared])[0]
    assert regions and {(region.phrase, region.pass_index) for region in regions} == {(1, 1)}
    of_cats = find_regions(labeler, image, ["cat"])
    assert [replace_phrase(region) for region in regions] == [replace_phrase(region) for region in of_cats]


def replace_phrase(region: Region) -> Region:
    return region.model_copy(update={"phrase": 0, "pass_index": 0})


_DETECTOR = "teacher/detectors/directory/detector.py"
_FORMATS = "teacher/detectors/formats.py"
MUTATIONS = (
    Mutation(
        _DETECTOR,
        "logits_BQL.softmax(-1)[..., :-1] if head.has_no_object else logits_BQL.sigmoid()",
        "logits_BQL.sigmoid()[..., : len(self.class_names)]",
        "test_regions_are_the_boxes_of_the_logits",
    ),
    Mutation(
        _DETECTOR,
        "            if self._rules.pads:",
        "            if False:",
        "test_padding_to_share_batches_is_masked_and_boxes_are_of_the_image",
    ),
    Mutation(
        _DETECTOR,
        "        check_finite(found",
        "        check_finite or (found",
        "test_scores_that_are_not_finite_reject_their_sample_alone",
    ),
    Mutation(
        _DETECTOR,
        'if getattr(outputs, "logits", None) is None or getattr(outputs, "pred_boxes", None) is None:',
        "if False:",
        "test_a_model_class_without_class_scores_ends_the_run",
    ),
    Mutation(
        "teacher/huggingface/entry.py",
        '    "dtype": "float32",\n',
        "",
        "test_weights_of_half_precision_run_in_float32",
    ),
    Mutation(
        _DETECTOR,
        "        self._try_model()\n",
        "",
        "test_a_size_on_which_the_model_cannot_run_is_refused_when_it_is_loaded",
    ),
    Mutation(_DETECTOR, "    if missing:", "    if False:", "test_weights_that_are_missing_are_refused"),
    Mutation(
        _DETECTOR,
        "        with silence_transformers():",
        "        if True:",
        "test_loading_writes_nothing_to_the_terminal",
    ),
    Mutation(
        _DETECTOR,
        "except ImportError as error:",
        "except ZeroDivisionError as error:",
        "test_a_backbone_of_timm_that_is_not_installed_is_named",
    ),
    Mutation(
        _DETECTOR,
        "        check_count(self._folder",
        "        len or check_count(self._folder",
        "test_names_must_be_as_many_as_the_models_classes",
    ),
    Mutation(
        _DETECTOR,
        "inside = np.flatnonzero((boxes_N4[:, 2] > boxes_N4[:, 0]) & (boxes_N4[:, 3] > boxes_N4[:, 1]))",
        "inside = np.arange(len(boxes_N4))",
        "test_boxes_in_the_padding_of_a_canvas_are_left_out",
    ),
    Mutation(
        _DETECTOR,
        'inside[np.argsort(-found.scores_N[inside], kind="stable")]',
        "inside",
        "test_boxes_come_best_first_for_each_phrase",
    ),
    Mutation(
        "teacher/detectors/directory/config.py",
        '"rt_detr": _SIGMOID',
        '"rt_detr": Head(uses_mask=True)',
        "test_a_model_that_takes_no_mask_gets_no_padding",
    ),
    Mutation(
        "teacher/labelers/detector_labeler.py",
        "        if all(row is None for row in rows):",
        "        if False:",
        "test_the_model_does_not_run_where_no_phrase_names_a_class",
    ),
    Mutation(
        "teacher/labelers/detector.py",
        "        digest = self.job_digest(settings, options.has_long_phrases, options.has_guessed_heads)",
        "        digest = ''",
        "test_only_safetensors_are_read",
    ),
    Mutation(
        "teacher/detectors/settings.py",
        "        if value not in values:",
        "        if False:",
        "test_a_setting_without_effect_on_the_model_is_refused",
    ),
    *(
        Mutation(_FORMATS, line, "", "test_the_digest_follows_everything_that_decides_regions")
        for line in (
            '"files": list_model_files(folder),',
            '"classes": list(choose_class_names(folder, settings.classes)),',
            '"precision": settings.precision,',
            '"channels_last": settings.channels_last,',
            '"compile": settings.compile,',
            '"pad_multiple": settings.pad_multiple,',
        )
    ),
)
"""Each removes a guard. `python -m tests.mutations` shows that the named test fails then."""
