"""A teacher is added by one new module, which labels a job, is described and is recognized."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from jsonschema import ValidationError as InvalidSchemaValue
from jsonschema import validate
from pydantic import ValidationError

from engine.ledger.evidence import evidence_rows
from engine.ledger.snapshots.snapshots import latest_snapshot
from engine.storage.store import open_store
from pipelines.config import load_settings
from pipelines.label.job import JobConfig
from pipelines.label.run import label
from pipelines.label.teacher_spec import TEACHER
from schemas.errors import ConfigError, NotFoundError
from student.evaluate.class_prompts import PromptOptions
from student.evaluate.predictors import PromptPredictor
from teacher.factories import make_labeler
from teacher.registry import TEACHERS, QueryKind, recognize_model
from tests.engine.worlds import plain_captions, write_shard

WHOLE_IMAGE = '''
"""A teacher that gives every phrase one box, a share of the image."""
from pathlib import Path
from schemas.labeler import PreparedSample
from schemas.records import Region
from teacher.registry import Teacher, TeacherSettings


class WholeImageSettings(TeacherSettings):
    share: float = 1.0


class WholeImageLabeler:
    score_kind = "constant"

    def __init__(self, digest, share, options):
        self.digest, self.share, self.batch_size = digest, share, options.batch_size

    def prepare(self, sample, image_rgb_u8):
        return PreparedSample(bucket=image_rgb_u8.shape[:2], inputs=len(sample.phrases))

    def label(self, batch):
        return [[] if row is None else self._boxes(*row.bucket, row.inputs) for row in batch]

    def _boxes(self, height, width, phrases):
        size = dict(x0=0.0, y0=0.0, x1=width * self.share, y1=height * self.share)
        return [Region(phrase=phrase, score=0.9, **size) for phrase in range(phrases)]


class WholeImage(Teacher[WholeImageSettings]):
    description = "a file whole.txt"
    settings_class = WholeImageSettings

    def make(self, settings, options):
        return WholeImageLabeler(self.digest(settings), settings.share, options)

    def recognizes(self, path):
        return path.name == "whole.txt"
'''
KIND = "whole_image:WholeImage"


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the teacher's module and its model file."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "whole_image.py").write_text(WHOLE_IMAGE)
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    monkeypatch.delitem(sys.modules, "whole_image", raising=False)
    monkeypatch.setattr(TEACHERS, "_loaded", {})
    (tmp_path / "whole.txt").write_text("weights")
    return tmp_path / "whole.txt"


def job_of(folder: Path, teacher: dict, **sections: dict) -> JobConfig:
    shard = write_shard(folder / "a.tar", plain_captions(4))
    base = {"input": {"urls": [str(shard)]}, "output": {"url": str(folder / "out")}, "teacher": teacher}
    base |= {"phrases": {"pipeline": "lexicon"}, "run": {"executor": "local"}}
    return JobConfig.model_validate({**base, **sections})


def test_a_job_names_a_teacher_of_its_own_and_is_labeled_by_it(tmp_path: Path, model: Path) -> None:
    job = job_of(tmp_path, {"kind": KIND, "model": str(model), "share": 0.5})

    summary = label(job)

    store = open_store(job.output.url)
    rows = list(evidence_rows(store, latest_snapshot(store)))
    assert summary["samples"]["in"] == len(rows) == 4
    for row in rows:
        assert len(row["regions"]) == len(row["phrases"]) > 0
        assert {(r["x1"], r["y1"]) for r in row["regions"]} == {(row["width"] / 2, row["height"] / 2)}


def test_a_worker_gets_the_reference_of_the_entry(tmp_path: Path, model: Path) -> None:
    own, glip = (job_of(tmp_path, {"kind": kind, "model": str(model)}) for kind in (KIND, "glip"))
    (tmp_path / "model.safetensors").write_bytes(b"weights")

    spec = TEACHER.of_labeler(own)

    assert spec.arguments["entry"] == KIND and make_labeler(**spec.arguments).digest == spec.digest
    glip = glip.model_copy(update={"teacher": glip.teacher.model_copy(update={"model": str(tmp_path)})})
    assert TEACHER.of_labeler(glip).arguments["entry"] == TEACHERS.reference("glip")


def test_the_digest_follows_settings_and_the_models_bytes_not_its_place(tmp_path: Path, model: Path) -> None:
    entry = TEACHERS.load(KIND)

    def digest(path: Path, **settings: float) -> str:
        return entry.digest(entry.settings_class(kind=KIND, model=str(path), **settings))

    moved = tmp_path / "elsewhere" / "whole.txt"
    moved.parent.mkdir()
    moved.write_text("weights")
    assert digest(moved) == digest(model) != digest(model, share=0.5)
    moved.write_text("other weights")
    assert digest(moved) != digest(model)
    with pytest.raises(NotFoundError, match="does not exist"):
        digest(tmp_path / "gone")


def test_decoys_are_refused_for_a_teacher_that_takes_none(tmp_path: Path, model: Path) -> None:
    job = job_of(tmp_path, {"kind": KIND, "model": str(model)}, decoys={"share": 1.0})

    with pytest.raises(ConfigError, match="the teacher whole_image:WholeImage does not support them"):
        label(job)


def test_the_built_in_teachers_take_decoys() -> None:
    assert [TEACHERS.load(kind).takes_decoys for kind in ("detector", "glip")] == [True, True]


@pytest.mark.parametrize("entry", ["ENTRY = WholeImage()", ""], ids=["an instance", "a class"])
@pytest.mark.parametrize("forgotten", ["description", "settings_class"])
def test_a_teacher_that_forgets_an_attribute_is_an_error_that_names_it(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, forgotten: str, entry: str
) -> None:
    lines = [line for line in WHOLE_IMAGE.split("\n") if not line.strip().startswith(f"{forgotten} = ")]
    (tmp_path / "modules" / "forgetful.py").write_text("\n".join([*lines, entry]))
    monkeypatch.delitem(sys.modules, "forgetful", raising=False)

    with pytest.raises(ConfigError, match=f"class WholeImage has no {forgotten}; set what is missing"):
        TEACHERS.load("forgetful:ENTRY" if entry else "forgetful:WholeImage")


def test_settings_of_a_teacher_are_checked_by_its_own_class(tmp_path: Path, model: Path) -> None:
    with pytest.raises(ValidationError) as error:
        job_of(tmp_path, {"kind": KIND, "model": str(model), "size": 3})

    assert [problem["loc"] for problem in error.value.errors()] == [("teacher", "size")]


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        (
            "{kind: blip, model: m}",
            r"job\.yaml:3:11: teacher\.kind: .*'blip'.* unknown; expected one of detector, glip",
        ),
        ("{model: m}", r"teacher\.kind: this field is missing"),
        ("{kind: glip, model: m, promt: auto}", r"job\.yaml:3:33: teacher\.promt: .*did you mean 'prompt'"),
        ("glip", "expected a mapping with kind and model"),
    ],
)
def test_a_wrong_teacher_section_is_reported_at_its_place(tmp_path: Path, teacher: str, message: str) -> None:
    (tmp_path / "job.yaml").write_text(
        f"input: {{urls: [a.tar]}}\noutput: {{url: out}}\nteacher: {teacher}\n"
    )

    with pytest.raises(ConfigError, match=message):
        load_settings(tmp_path / "job.yaml", JobConfig)


def test_the_schema_of_a_job_is_the_union_of_all_teachers() -> None:
    schema = JobConfig.model_json_schema()

    kinds = schema["properties"]["teacher"]["discriminator"]["mapping"]
    assert list(kinds) == list(TEACHERS.names())
    assert set(kinds) == {
        "detector", "glip", "grounding-dino", "mm-grounding-dino", "omdet-turbo", "owlv2", "owlvit", "sam3", "vlm",
    }  # fmt: skip
    assert "nms_iou" in schema["$defs"]["DetectorSettings"]["properties"]
    assert "text_tokens" in schema["$defs"]["GlipSettings"]["properties"]


def test_the_schema_of_a_job_accepts_the_teachers_that_a_job_accepts(tmp_path: Path, model: Path) -> None:
    schema = JobConfig.model_json_schema()

    for teacher in (
        {"kind": KIND, "model": str(model), "share": 0.5},
        {"kind": "glip", "model": "m", "prompt": "caption"},
    ):
        job_of(tmp_path, teacher)
        validate({"input": {"urls": ["a.tar"]}, "output": {"url": "out"}, "teacher": teacher}, schema)
    for teacher in ({"kind": "blip", "model": "m"}, {"kind": "glip", "model": "m", "promt": "caption"}):
        with pytest.raises(InvalidSchemaValue):
            validate({"input": {"urls": ["a.tar"]}, "output": {"url": "out"}, "teacher": teacher}, schema)


def test_a_padding_is_only_passed_to_a_teacher_that_has_a_setting_for_it(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TEACHERS._references, "whole_image", KIND)  # as an installed package would

    assert PromptPredictor(model, 1).takes_phrases
    with pytest.raises(
        ConfigError, match="--pad authors: .*'whole_image', which has no setting `pad`; leave --pad"
    ):
        PromptPredictor(model, 1, PromptOptions(pad="authors"))


def test_a_model_is_recognized_by_its_files(tmp_path: Path) -> None:
    glip, swin = tmp_path / "glip", tmp_path / "swin"
    for folder in (glip, swin):
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"model_type": folder.name}))

    assert recognize_model(glip)[0] == "glip"
    kind, entry = recognize_model(tmp_path / "yolox.onnx")
    assert kind == "detector" and entry.query_kind is QueryKind.CLASSES
    with pytest.raises(
        ConfigError, match=r"swin is not a known model; expected a detector .*\.onnx.* or a GLIP directory"
    ):
        recognize_model(swin)
    with pytest.raises(NotFoundError, match="gone is not a known model"):
        recognize_model(tmp_path / "gone")
