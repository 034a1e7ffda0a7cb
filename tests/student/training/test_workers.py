"""Workers and parts only divide a batch: the gradient of a step is the same, and so are its images."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from schemas.errors import GroundswellError
from student.settings.train import TrainSettings
from student.training.metrics_log import read_metrics
from student.training.train import train
from student.training.trainer import Trainer
from tests.student.trainings import read_samples

# Ray's own modules warn of each other when they are imported.
quiet_ray = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture
def first_steps(two_streams: TrainSettings) -> TrainSettings:
    """Two steps with a checkpoint between them; the second starts to show what the first one left."""
    return two_streams.model_copy(update={"steps": 2, "checkpoint_every": 1, "log_samples": True})


def in_folder(settings: TrainSettings, folder: Path, **changed: object) -> TrainSettings:
    return settings.model_copy(update={"out": str(folder), **changed})


def first_gradient(settings: TrainSettings) -> torch.Tensor:
    """Return the clipped gradient of the first step, up to a factor: AdamW's first moment after it."""
    state = load_file(Path(settings.out) / "checkpoints" / "step-00000001" / "trainer.safetensors")
    return torch.cat([state[name].flatten() for name in sorted(state) if name.startswith("exp_avg.")])


def apart(one: TrainSettings, other: TrainSettings) -> float:
    """Length of the difference of two first gradients, as a share of the first one's."""
    a, b = first_gradient(one), first_gradient(other)
    return float((a - b).norm() / a.norm())


def curve(settings: TrainSettings) -> list[float]:
    return [record["loss"] for record in read_metrics(Path(settings.out))]


@quiet_ray
def test_a_lost_worker_without_a_message_is_named_by_its_type() -> None:
    from ray.train import WorkerGroupError

    from student.training.ray_training import _describe_loss

    failures = {0: RuntimeError(), 1: RuntimeError("first line\nthe node died\n")}

    assert _describe_loss(WorkerGroupError("two", failures)) == "RuntimeError; the node died"


@pytest.mark.ray
@quiet_ray
def test_two_workers_learn_what_one_learns_from_the_same_images(
    first_steps: TrainSettings, tmp_path: Path, ray_cluster: None
) -> None:
    one, two = in_folder(first_steps, tmp_path / "one"), in_folder(first_steps, tmp_path / "two", workers=2)
    alone, together = train(one), train(two)

    assert apart(one, two) < 1e-4
    assert curve(one) == pytest.approx(curve(two), rel=1e-3)
    assert read_samples(Path(one.out)) == read_samples(Path(two.out))
    assert together["run_digest"] == alone["run_digest"] and together["counts"] == alone["counts"]


def test_parts_of_a_batch_learn_what_the_whole_batch_does(first_steps: TrainSettings, tmp_path: Path) -> None:
    calm = first_steps.model_copy(update={"freeze_batch_norm": True})
    whole = in_folder(calm, tmp_path / "whole")
    parts = in_folder(calm, tmp_path / "parts", accumulate=4)
    train(whole), train(parts)

    assert apart(whole, parts) < 1e-4
    assert curve(whole) == pytest.approx(curve(parts), rel=1e-3)
    assert read_samples(Path(whole.out)) == read_samples(Path(parts.out))


def test_parts_that_each_count_for_themselves_would_learn_something_else(
    first_steps: TrainSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard of the test above: without counts over the whole step the gradient is another one."""
    calm = first_steps.model_copy(update={"freeze_batch_norm": True})
    whole = in_folder(calm, tmp_path / "whole")
    parts = in_folder(calm, tmp_path / "parts", accumulate=4)
    train(whole)
    monkeypatch.setattr(Trainer, "_count_labels", lambda self, parts: None)
    train(parts)

    assert apart(whole, parts) > 1e-2


def test_half_precision_learns_nearly_the_same(first_steps: TrainSettings, tmp_path: Path) -> None:
    full, half = (
        in_folder(first_steps, tmp_path / "full"),
        in_folder(first_steps, tmp_path / "half", precision="bf16"),
    )
    train(full), train(half)

    assert 0 < apart(full, half) < 0.2
    assert curve(full) == pytest.approx(curve(half), rel=0.05)


@pytest.mark.slow
@pytest.mark.ray
@quiet_ray
def test_an_error_of_the_run_is_raised_once_and_as_what_it_is(
    first_steps: TrainSettings, tmp_path: Path, ray_cluster: None
) -> None:
    far = in_folder(first_steps, tmp_path / "far", workers=2, learning_rate=1e30, clip_norm=1e30, steps=4)

    with pytest.raises(GroundswellError, match="Lower learning_rate or clip_norm"):
        train(far)


@pytest.mark.slow
@pytest.mark.ray
@quiet_ray
def test_workers_that_are_asked_to_stop_write_a_checkpoint_and_the_run_goes_on(
    first_steps: TrainSettings, tmp_path: Path, ray_cluster: None
) -> None:
    calm = in_folder(first_steps, tmp_path / "calm", workers=2, steps=6)
    asked = in_folder(calm, tmp_path / "asked", checkpoint_every=6, steps=6)
    with pytest.raises(KeyboardInterrupt):
        train(asked, stop=lambda: bool(read_samples(tmp_path / "asked")))
    assert list((tmp_path / "asked" / "checkpoints").glob("step-*/trainer.json"))
    train(asked), train(calm)

    assert curve(asked) == curve(calm)
    assert read_samples(tmp_path / "asked") == read_samples(tmp_path / "calm")
