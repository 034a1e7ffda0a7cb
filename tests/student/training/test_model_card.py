"""The model card and the pictures of a run: what others read of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.cli.verbs.train import format_report
from pipelines.demo.world.build import World
from schemas.errors import ConfigError, ConflictError
from student.data.streams import load_stream
from student.settings.streams import MixtureSettings
from student.settings.train import TrainSettings
from student.training.distributed import TrainingGroup
from student.training.log_images import draw_pictures
from student.training.model_card import CardReports, _usage_lines, write_card
from student.training.train import train
from student.training.trainer import Trainer
from tests.student.training.test_train import maker


@pytest.fixture
def short(two_streams: TrainSettings, pseudo_view: str) -> TrainSettings:
    web = two_streams.streams[1].model_copy(update={"url": pseudo_view})
    return two_streams.model_copy(update={"steps": 1, "streams": (two_streams.streams[0], web)})


def audit_of(view_digest: str) -> dict:
    return {
        "view_digest": view_digest,
        "precision": {"value": 0.912, "low": 0.87, "high": 0.94},
        "confidence": 0.95,
        "reviewed": 200,
        "reviewer_kind": "person",
    }


def card(settings: TrainSettings) -> str:
    return (Path(settings.out) / "model" / "README.md").read_text()


def test_the_card_holds_the_audit_and_the_evaluation_once_they_are_given(short: TrainSettings) -> None:
    view = load_stream(short.streams[1]).view_digest
    train(short)
    assert f"`{view}`: no audit was given" in card(short)
    assert "## Evaluation" not in card(short)

    intervals = {"AP": [0.28, 0.33], "APl": [-1.0, -1.0], "recall_at": {"1": [0.7, 0.9]}}
    evaluation = {"AP": 0.305, "APl": -1.0, "recall_at": {"1": 0.8}, "ci": intervals, "images": {"gold": 10}}
    train(short, card_reports=CardReports([audit_of(view)], {"tiny": evaluation}))

    assert (
        f"`{view}`: precision 0.912 (95% interval 0.870 to 0.940), 200 regions reviewed by a person"
        in card(short)
    )
    assert "| tiny | AP | 0.305 | 0.280 to 0.330 |" in card(short)
    assert "| tiny | R@1 | 0.800 | 0.700 to 0.900 |" in card(short)
    assert "APl" not in card(short)  # nothing large was there to measure


def test_the_card_names_the_model_of_the_hub_that_was_the_start_and_no_local_place(
    short: TrainSettings, tmp_path: Path
) -> None:
    start = tmp_path / "models--owner--name/snapshots/0123"
    shutil.copytree(str(short.start), start)

    settings = short.model_copy(update={"start": str(start)})
    train(settings)
    named = card(settings)

    assert named.split("---")[1].splitlines()[-1] == "base_model: owner/name"
    assert str(tmp_path) not in named


def test_an_audit_of_another_view_is_refused(short: TrainSettings) -> None:
    with pytest.raises(ConflictError, match="none of the run's.*; give the report of an audit"):
        train(short, card_reports=CardReports([audit_of("sha256:other")]))


def test_the_card_says_that_no_overlap_was_looked_for(short: TrainSettings) -> None:
    train(short)

    assert "Not looked for: the run names no evaluation sets." in card(short)


def test_a_picture_shows_the_image_its_targets_and_its_prompt(
    two_streams: TrainSettings, tiny_world: World
) -> None:
    batch = maker(two_streams).build(0)
    state = Trainer(two_streams, TrainingGroup())
    result = state.train_step(0, [batch])

    first, second = draw_pictures(batch, result.outputs, state.processor)

    assert first.dtype == np.uint8 and first.shape == second.shape == (96 + 12, 96, 3)
    assert len(batch.labels[0]["boxes"]) and (first[:96] == (0, 158, 115)).all(axis=2).any()
    assert (first[96:] != 255).any()


def test_tensorboard_gets_pictures_every_so_often(two_streams: TrainSettings) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    settings = two_streams.model_copy(update={"steps": 4, "images_every": 2, "tensorboard": True})
    train(settings)

    events = EventAccumulator(settings.out + "/events").Reload()
    assert [event.step for event in events.Images("boxes/0")] == [0, 2]
    assert {"loss", "learning_rate", "images_per_s", "data_wait_share"} <= set(events.Tags()["scalars"])


@pytest.mark.parametrize(
    ("said", "mixture"),
    [({"per_epoch": 1.0}, {}), ({}, {"temperature": 1.0})],
    ids=["per_epoch", "temperature"],
)
def test_shares_that_come_of_sizes_are_told_as_numbers(
    short: TrainSettings, said: dict, mixture: dict
) -> None:
    streams = tuple(one.model_copy(update={"share": None, **said}) for one in short.streams)
    settings = short.model_copy(update={"streams": streams, "mixture": MixtureSettings(**mixture)})

    report = train(settings)

    sizes = [stream["entries_per_epoch"] for stream in report["streams"]]
    assert [one["share"] for one in report["streams"]] == [size / sum(sizes) for size in sizes]
    assert f"| gold | {sizes[0] / sum(sizes):.2f} |" in card(settings) and format_report(report)


@pytest.mark.parametrize(
    "reports",
    [
        CardReports([value], {})
        for value in ([], None, 3, {}, {**audit_of("x"), "precision": {"value": "high"}})
    ]
    + [
        CardReports([], {"e": value})
        for value in ([], None, 3, {}, {"ci": [1]}, {"ci": {"AP": 3}}, {"ci": {"AP": ["a", 1]}})
    ],
)
def test_a_report_of_another_kind_is_refused_before_anything_is_read_from_it(reports: CardReports) -> None:
    with pytest.raises(ConfigError, match="is not a report of"):
        reports.check([])


def test_the_snippet_of_the_card_boxes_a_photograph_outside_the_project(
    short: TrainSettings, tmp_path: Path
) -> None:
    train(short)
    folder = Path(short.out) / "model"
    first, second = (part.split("```")[0] for part in card(short).split("```python\n")[1:])
    code = (first + second).replace("threshold=0.3", "threshold=0.0")
    place = tmp_path / "outside"
    shutil.copytree(folder, place)
    Image.fromarray(np.full((120, 160, 3), 90, dtype=np.uint8)).save(place / "photo.jpg")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home"), "PYTHONPATH": ""}

    answer = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, cwd=place, env=environment
    )

    assert answer.returncode == 0, answer.stderr[-2000:]
    assert re.match(r"a (cat|remote control): 0\.\d\d \[\d+, ", answer.stdout)
    assert re.search(r"^\[\{'score': 0\.\d+, 'label': 'a (cat|remote control)', 'box': ", answer.stdout, re.M)


def test_the_card_of_a_prompt_tuned_model_offers_no_pipeline(short: TrainSettings) -> None:
    tuned = short.model_copy(update={"tuning": "prompt", "tuning_prompt": "cat. remote control"})

    text = "\n".join(_usage_lines(tuned))

    assert "asks each label alone. This model answers its one prompt alone" in text
    assert 'labels = ["cat", "remote control"]' in text and "pipeline(" not in text


def test_the_card_says_whose_boxes_were_learned_and_from_which_score_on(short: TrainSettings) -> None:
    report = train(short)
    labels = {
        "score_kind": "owlv2.sigmoid",
        "job_digest": "sha256:0",
        "policy": {"min_score": 0.4, "nms_iou": 0.5},
    }
    streams = [report["streams"][0], {**report["streams"][1], "labels": labels}]

    write_card(Path(short.out) / "model", short, {**report, "streams": streams}, CardReports())

    assert (
        "boxes of a teacher with the score `owlv2.sigmoid` (job `sha256:0`), under a policy with min_score 0.4"
        in card(short)
    )
