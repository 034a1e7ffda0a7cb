"""What a training refuses: settings, views, places and leftovers, each by one message that says what to do."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from engine.reading.range_reader import RangeReader
from engine.views import open_view, write_view
from pipelines.demo.world.build import World
from schemas.errors import ConfigError, ConflictError, NotFoundError
from student.data.streams import load_stream
from student.settings.train import TrainSettings
from student.training.checkpoints import RECORD, latest_checkpoint
from student.training.train import train
from tests.student.training.test_train import Killed, kill_at


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"run_digest": "x", "model_files": 3}'])
def test_a_report_that_is_none_is_told_with_what_to_remove(two_streams: TrainSettings, text: str) -> None:
    Path(two_streams.out).mkdir()
    (Path(two_streams.out) / "report.json").write_text(text)

    with pytest.raises(ConflictError, match="report.json is not the report of a training .* remove it"):
        train(two_streams)


@pytest.mark.parametrize("name", ["model.safetensors", "trainer.safetensors"])
def test_a_checkpoint_that_is_cut_short_is_told_and_once_removed_the_run_goes_on(
    two_streams: TrainSettings, name: str
) -> None:
    with pytest.raises(Killed):
        train(two_streams, kill_at(5))
    newest = Path(two_streams.out) / "checkpoints" / "step-00000004"
    (newest / name).write_bytes((newest / name).read_bytes()[:-1000])

    with pytest.raises(ConflictError, match="step-00000004 is damaged .* remove it"):
        train(two_streams)
    shutil.rmtree(newest)
    assert train(two_streams)["steps"] == 6


def test_a_refused_run_leaves_the_settings_of_the_one_that_stands_there(two_streams: TrainSettings) -> None:
    with pytest.raises(Killed):
        train(two_streams, kill_at(3))
    before = (Path(two_streams.out) / "settings.json").read_text()

    with pytest.raises(ConflictError, match="belongs to the run"):
        train(two_streams.model_copy(update={"learning_rate": 0.5}))

    assert (Path(two_streams.out) / "settings.json").read_text() == before


@pytest.mark.parametrize("out", ["s3://bucket/run", ""])
def test_an_out_that_is_no_folder_is_refused(two_streams: TrainSettings, out: str) -> None:
    with pytest.raises(ValidationError, match="training writes to a local folder|at least 1 character"):
        TrainSettings.model_validate({**two_streams.model_dump(), "out": out})


def test_betas_and_threads_have_bounds(two_streams: TrainSettings) -> None:
    for wrong in ({"betas": (1.0, 0.9)}, {"betas": (0.9, -0.1)}, {"threads": 10**9}):
        with pytest.raises(ValidationError, match="less than|greater than"):
            TrainSettings.model_validate({**two_streams.model_dump(), **wrong})


def test_a_view_of_no_rows_is_refused(two_streams: TrainSettings, tmp_path: Path) -> None:
    write_view(str(tmp_path / "empty"), [], kind="view", provenance={})

    with pytest.raises(ConfigError, match="empty has no rows"):
        load_stream(two_streams.streams[1].model_copy(update={"url": str(tmp_path / "empty")}))


def test_a_row_that_does_not_say_where_its_image_lies_is_refused(
    two_streams: TrainSettings, tiny_world: World, tmp_path: Path
) -> None:
    rows = [{**row, "pixels": None} for row in open_view(tiny_world.gold_view).rows()]
    write_view(str(tmp_path / "blind"), rows, kind="gold", provenance={})

    with pytest.raises(ConfigError, match="row gold/.* does not say where its image is"):
        load_stream(two_streams.streams[0].model_copy(update={"url": str(tmp_path / "blind")}))


@pytest.mark.parametrize("place", [{"offset": -1, "length": 10}, {"offset": 0, "length": 2**40}])
def test_a_range_that_no_image_has_is_not_read(tmp_path: Path, place: dict[str, int]) -> None:
    (tmp_path / "shard.tar").write_bytes(bytes(100))

    with pytest.raises(NotFoundError, match="invalid image range"):
        RangeReader().read({"url": str(tmp_path / "shard.tar"), **place})


@pytest.mark.parametrize("text", ["junk", "[]", "3", '{"loss": 1}', '{"step": "x"}'])
def test_a_log_that_is_none_is_told_by_its_name(two_streams: TrainSettings, text: str) -> None:
    Path(two_streams.out).mkdir()
    (Path(two_streams.out) / "metrics.jsonl").write_text(text + "\n")

    with pytest.raises(ConflictError, match="metrics.jsonl is not the log of a training"):
        train(two_streams)


@pytest.mark.parametrize("logged", ["3", "{}", '{"losses": [1], "counts": {}, "steps": 0}'])
def test_a_record_with_no_counts_in_it_is_told_with_what_to_remove(tmp_path: Path, logged: str) -> None:
    for number, step in enumerate(["4", "1e400"]):
        folder = tmp_path / f"{number}" / "step-00000004"
        folder.mkdir(parents=True)
        (folder / RECORD).write_text(f'{{"step": {step}, "run_digest": "sha256:1", "logged": {logged}}}')

        with pytest.raises(ConflictError, match="is not the record of a checkpoint"):
            latest_checkpoint(folder.parent, "sha256:1")


def test_a_run_that_waited_for_another_to_end_does_not_write_over_its_model(
    two_streams: TrainSettings,
) -> None:
    first = two_streams.model_copy(update={"steps": 1})
    train(first)
    (Path(first.out) / "report.json").unlink()  # as the other sees it that looked before the first was done
    weights = (Path(first.out) / "model" / "model.safetensors").read_bytes()

    with pytest.raises(ConflictError, match="has a model of the run"):
        train(first.model_copy(update={"learning_rate": 0.5}))

    assert (Path(first.out) / "model" / "model.safetensors").read_bytes() == weights
