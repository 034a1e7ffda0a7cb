"""A directory of an object detector in `label`, `model info` and the Python API, without a network."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import groundswell as gs
from engine.ledger.evidence import evidence_rows
from engine.ledger.snapshots.snapshots import latest_snapshot
from engine.storage.store import open_store
from pipelines.cli import build_app
from pipelines.label.job import JobConfig
from pipelines.label.run import label
from schemas.errors import ConfigError
from teacher.factories import labeler_digest, make_labeler
from teacher.phrases.finder import SpacyPhraseFinder
from teacher.settings import PhraseSettings
from tests.engine.worlds import write_shard
from tests.mutations import Mutation
from tests.teacher.huggingface.tiny_detectors import NAMES, save_detector

pytestmark = pytest.mark.slow

KINDS = ("detr", "d_fine", "yolos", "rf_detr")
"""One of each way to read images and heads."""


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a test of offline use opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize("kind", KINDS)
def test_label_and_the_python_api_give_the_same_regions(tmp_path: Path, kind: str) -> None:
    model = save_detector(kind, tmp_path / "m")
    shard = write_shard(tmp_path / "a.tar", ["a man on a horse", "the cat", "two dogs and a dream", ""])
    job = JobConfig.model_validate(
        {
            "input": {"urls": [str(shard)]},
            "teacher": {"kind": "detector", "model": str(model)},
            "output": {"url": str(tmp_path / "out")},
            "run": {"executor": "local", "batch_size": 3},
        }
    )

    label(job)

    store = open_store(job.output.url)
    rows = list(evidence_rows(store, latest_snapshot(store)))
    assert sum(len(row["regions"]) for row in rows) > 2
    teacher = gs.load_teacher(model)
    assert teacher.labeler.score_kind == "detector.class_score"
    for row in rows:
        grounded = teacher.ground(gs.load_image(row), row["caption"])
        assert [region["phrase"] for region in grounded["regions"]] == [r["phrase"] for r in row["regions"]]
        for one, other in zip(grounded["regions"], row["regions"], strict=True):
            assert one["score"] == pytest.approx(other["score"], abs=1e-5)
            assert [one[side] for side in ("x0", "y0", "x1", "y1")] == pytest.approx(
                [other[side] for side in ("x0", "y0", "x1", "y1")], abs=1e-3
            )


def test_model_info_describes_a_directory(tmp_path: Path) -> None:
    answer = CliRunner().invoke(
        build_app(), ["model", "info", str(save_detector("detr", tmp_path / "m")), "--json"]
    )

    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout)["architectures"] == ["DetrForObjectDetection"]


def test_code_next_to_the_weights_is_never_run(tmp_path: Path) -> None:
    model = save_detector("detr", tmp_path / "m")
    trap = (
        "from pathlib import Path\nPath(__file__).with_name('ran').touch()\nDetrForObjectDetection = object\n"
    )
    (model / "trap.py").write_text(trap)
    config = json.loads((model / "config.json").read_text())
    config["auto_map"] = {"AutoModelForObjectDetection": "trap.DetrForObjectDetection"}
    (model / "config.json").write_text(json.dumps(config))
    before = labeler_digest({"kind": "detector", "model": str(model)})
    (model / "trap.py").write_text(trap + "# changed\n")

    make_labeler({"kind": "detector", "model": str(model)}, 1, 0.05)

    assert not list(tmp_path.rglob("ran"))
    assert labeler_digest({"kind": "detector", "model": str(model)}) == before


def test_referring_expressions_are_boxed_as_their_own_heads_class(tmp_path: Path) -> None:
    """The captions of the field report `expression_detector`, each once boxed as the class of its last word."""
    names = ["person", "horse", "car", "child", "dog", "cat", "couch"]
    model = save_detector("rt_detr", tmp_path / "m", names=names)
    labeler = make_labeler({"kind": "detector", "model": str(model)}, 1, 0.05, long_phrases=True)
    captions = {
        "A man riding a horse.": "person",
        "A woman in a red car.": "person",
        "A child with a dog.": "child",
        "The cat on the couch.": "cat",
    }
    finder = SpacyPhraseFinder(PhraseSettings(expressions=True))
    found: dict[str, list[str | None]] = {}
    teacher = gs.GroundingTeacher(labeler, finder, gs.load_teacher(model).settings)
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for caption in captions:
        row = teacher.ground(image, caption, spans=[(0, len(caption) - 1)])
        direct = {
            name: {region["score"] for region in teacher.ground(image, f"a {name}")["regions"]}
            for name in names
        }
        whole = [n for n, phrase in enumerate(row["phrases"]) if phrase["kind"] in ("expression", "given")]
        for number in whole:
            scores = {region["score"] for region in row["regions"] if region["phrase"] == number}
            matches = [name for name in names if scores and scores == direct[name]]
            found.setdefault(caption, []).append(matches[0] if len(matches) == 1 else None)

    assert all(found[caption] and set(found[caption]) == {name} for caption, name in captions.items()), found


def test_default_names_are_refused_when_a_job_is_planned_and_when_it_runs(tmp_path: Path) -> None:
    settings = {"kind": "detector", "model": str(save_detector("detr", tmp_path / "m", names=None))}

    for use in (labeler_digest, lambda values: make_labeler(values, 1, 0.05)):
        with pytest.raises(
            ConfigError, match=r"id2label does not name the model's classes; set teacher\.classes"
        ):
            use(settings)
    assert make_labeler({**settings, "classes": list(NAMES)}, 1, 0.05)


MUTATIONS = (
    Mutation(
        "teacher/labelers/detector_labeler.py",
        "        if phrase.kind in _LONG:",
        "        if False:",
        "test_referring_expressions_are_boxed_as_their_own_heads_class",
    ),
    Mutation(
        "teacher/huggingface/entry.py",
        '    "trust_remote_code": False,\n    "dtype"',
        '    "trust_remote_code": True,\n    "dtype"',
        "test_code_next_to_the_weights_is_never_run",
    ),
)
"""Each removes a guard. `python -m tests.mutations` shows that the named test fails then."""
