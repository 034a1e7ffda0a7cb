"""Rounds run end to end, continue after an interruption, stop at a stop rule, and draw their lineage."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.views import open_view, write_view
from pipelines.demo.initial_model import write_start
from pipelines.demo.world.build import World
from pipelines.rounds import round as one_round
from pipelines.rounds.run import RoundsReport, run_rounds
from pipelines.rounds.settings import RoundsConfig
from schemas.errors import ConflictError, NotFoundError, UnfinishedError
from tests.engine.worlds import tar_bytes
from tests.rounds.conftest import SIZE
from tests.rounds.graphs import list_ancestors

Build = Callable[..., RoundsConfig]


def run(config: RoundsConfig, said: list[str] | None = None) -> RoundsReport:
    return run_rounds(config, progress=lambda *step: None, say=(said if said is not None else []).append)


def test_two_rounds_promote_two_students_and_every_model_leads_back_to_the_shards(
    rounds_config: Build,
) -> None:
    config = rounds_config(rounds=2, average=0.25)
    report = run(config)

    assert (report.finished, report.stops) == (2, ())
    nodes = {node.name: node for node in report.lineage.nodes}
    last = list_ancestors(report.lineage, nodes["averaged 2"].id)
    assert {
        nodes[name].id for name in ("shards", "first teacher", "averaged 1", "view 1", "view 2", "gold")
    } <= last
    assert nodes["control 2"].id not in last
    page = Path(report.report).read_text()
    assert "2 of 2 rounds promoted a student" in page and nodes["averaged 2"].id in page

    cards = [Path(config.out) / f"round-1/{name}/model/README.md" for name in ("averaged", "student")]
    # the average's numbers are not its own
    assert not any("| held_out |" in card.read_text() for card in cards)

    said: list[str] = []
    again = run(config, said)
    assert again.data() == report.data()
    assert len(said) == 10 and all("already done" in line for line in said)


def test_the_decoys_of_a_round_are_counted_and_both_trainings_leave_their_nouns_out(
    rounds_config: Build,
) -> None:
    label = rounds_config().label.model_dump(mode="json")
    config = rounds_config(label={**label, "decoys": {"share": 1.0}})

    (told,) = run(config).rounds

    assert told["compile"]["decoys"]["all"]["asked"] > 0
    assert told["compile"]["decoy_false_share"] == told["compile"]["decoys"]["all"]["share"] > 0
    places = {"start": "", "out": "out"}
    both = [config.training(name, "view", places).probe_nouns for name in ("student", "control")]
    assert both == ["excluded", "excluded"]


def test_a_run_interrupted_after_any_step_gives_the_same_models(
    rounds_config: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(rounds_config(out=str(tmp_path / "whole")))
    config = rounds_config(out=str(tmp_path / "cut"))
    for name in ("_label", "_compile", "_train", "_evaluate", "_promote"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(one_round.Round, name, _interrupted_after(getattr(one_round.Round, name)))
            run(config)

    cut = run(config)

    models = [report.rounds[0]["promote"]["files"]["model.safetensors"] for report in (whole, cut)]
    assert models[0] == models[1] and cut.finished == 1


@pytest.mark.slow
def test_a_signal_during_training_leaves_a_checkpoint_from_which_it_continues(
    rounds_config: Build, tmp_path: Path
) -> None:
    short = rounds_config()
    both = {
        "student": {**short.student, "steps": 6, "checkpoint_every": 6},
        "control": {**short.control, "steps": 6, "checkpoint_every": 6},
    }
    whole = run(rounds_config(out=str(tmp_path / "whole"), **both))
    config = rounds_config(out=str(tmp_path / "cut"), **both)

    def interrupt(label: str, done: int, total: int) -> None:
        if label == "train" and done == 1:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_rounds(config, progress=interrupt, say=lambda line: None)
    checkpoints = [path.name for path in (tmp_path / "cut").rglob("checkpoints/*")]
    cut = run(config)

    assert checkpoints == ["step-00000002"]  # after the step at hand
    models = [report.rounds[0]["promote"]["files"]["model.safetensors"] for report in (whole, cut)]
    assert models[0] == models[1]


def _interrupted_after(step: Callable) -> Callable:
    """Interrupt a step after its work, before its result is stored."""

    def run_and_die(self: one_round.Round) -> dict:
        step(self)
        raise KeyboardInterrupt

    return run_and_die


def test_a_brake_that_is_lifted_repeats_no_work(rounds_config: Build) -> None:
    held = run(rounds_config(brakes={"min_gain": 1.0, "gain_interval": False, "boxes_per_image": 100.0}))
    assert [stop.brake for stop in held.stops] == ["min_gain"] and held.promoted is None

    said: list[str] = []
    report = run(rounds_config(), said)

    assert report.finished == 1
    assert [line for line in said if "already done" not in line] == [
        line for line in said if "promote the student" in line
    ]


def test_another_policy_makes_another_view_in_the_same_folder(rounds_config: Build) -> None:
    few = {"min_score": 0.0, "nms_iou": 0.5, "max_regions_per_phrase": 1}
    first = run(rounds_config(policy=few))
    second = run(rounds_config(policy={**few, "max_regions_per_phrase": 2}))

    digests = [report.rounds[0]["compile"]["digest"] for report in (first, second)]
    assert digests[0] != digests[1] and second.finished == 1


def test_rounds_that_go_on_keep_the_ignore_score_they_began_with_and_say_so(rounds_config: Build) -> None:
    # a brake holds the round after compile: nothing is trained
    brakes = {"boxes_per_image": 0.01}
    few = {"min_score": 0.0, "nms_iou": 0.5, "max_regions_per_phrase": 1}
    said: list[str] = []
    legacy = run(rounds_config(policy={**few, "ignore_score": None}, brakes=brakes))
    again = run(rounds_config(policy=few, brakes=brakes), said)
    chosen = run(rounds_config(policy={**few, "ignore_score": "floor"}, brakes=brakes))

    first, second, third = (report.rounds[0]["compile"] for report in (legacy, again, chosen))
    assert second == first and not first["regions"]["ignored"]
    assert [line.startswith("ignore_score: null, as the view at") for line in said].count(True) == 1
    assert "already done" in said[-2] and "compile the view" in said[-2]
    assert third["regions"]["ignored"]["over_cap"] > 0 and third["policy_digest"] != first["policy_digest"]


def test_another_start_trains_again_and_labels_nothing_again(
    rounds_config: Build, little_world: World, tmp_path: Path
) -> None:
    start, model = tmp_path / "start", str(little_world.folder.parent / "teacher")
    config = rounds_config(teacher={"model": model, "start": str(start)}, begin="teacher_start")
    with pytest.raises(NotFoundError, match="teacher.start"):
        run(config)
    trained, said = [], []
    for seed in (1, 2):
        shutil.rmtree(start, ignore_errors=True)
        write_start(start, SIZE.model_copy(update={"seed": seed}))
        trained.append(run(config, said).rounds[0]["train"]["student"]["start_sha256"])

    assert trained[0] != trained[1]
    assert [line.split(": ")[1] for line in said if "already done" in line] == [
        "label with the teacher",
        "compile the view",
    ]


def test_a_suite_of_federated_gold_is_measured_by_its_rules(rounds_config: Build, tmp_path: Path) -> None:
    (suite,) = rounds_config().model_dump(mode="json")["evaluate"]
    gold = json.loads(Path(suite["gold"]).read_text())
    for image in gold["images"]:
        image |= {"neg_category_ids": [], "not_exhaustive_category_ids": []}
    (tmp_path / "federated.json").write_text(json.dumps(gold))
    suite |= {"gold": str(tmp_path / "federated.json"), "protocol": "lvis"}

    (found,) = run(rounds_config(evaluate=[suite])).rounds

    assert {one["protocol"] for one in found["evaluate"]["suites"]["held_out"].values()} == {"lvis"}
    assert found["evaluate"]["gain"] is not None


def test_a_suite_whose_images_are_trained_on_is_refused(rounds_config: Build, little_world: World) -> None:
    suite = {"name": "held_out", "gold": little_world.gold_view}
    config = rounds_config(evaluate=[suite], target={"suite": "held_out"})

    with pytest.raises(ConflictError, match="6 of .* training images are also in the evaluation sets"):
        run(config)


@pytest.mark.parametrize(("what", "done"), [("suite", ["label", "compile", "train"]), ("gold", ["label"])])
def test_other_data_under_the_same_name_is_read_again(
    rounds_config: Build, little_world: World, tmp_path: Path, what: str, done: list[str]
) -> None:
    suite, gold = tmp_path / "suite.json", tmp_path / "gold"
    shutil.copy(little_world.test_coco, suite)
    shutil.copytree(little_world.gold_view, gold)
    (held_out,) = rounds_config().model_dump(mode="json")["evaluate"]
    config = rounds_config(evaluate=[{**held_out, "gold": str(suite)}], gold=str(gold))
    run(config)
    if what == "suite":
        held = json.loads(suite.read_text())
        suite.write_text(json.dumps({**held, "annotations": held["annotations"][1:]}))
    else:
        rows = list(open_view(str(gold)).rows())[1:]
        shutil.rmtree(gold)
        write_view(str(gold), rows, kind="gold", provenance={})

    said: list[str] = []
    run(config, said)

    repeated = [line.split(": ")[1].split()[0] for line in said if "already done" in line]
    assert repeated == done


def test_the_gate_stops_before_training_and_keeps_its_sample_for_the_reviewer(
    rounds_config: Build, little_world: World
) -> None:
    from pipelines.audit.commands import run_oracle_audit
    from pipelines.demo.oracle import load_web_truth

    config = rounds_config(audit={"n": 5, "min_precision": 0.0})
    waiting = run(config)
    assert [stop.brake for stop in waiting.stops] == ["audit"] and "train" not in waiting.rounds[0]

    (folder,) = Path(config.out).glob("round-1/audit-*")
    run_oracle_audit(folder, load_web_truth(little_world.web_truth))

    assert run(config).finished == 1
    card = Path(config.out) / "round-1/student/model/README.md"
    text = card.read_text()
    assert "reviewed by a program that knows the truth" in text and "| held_out | AP |" in text

    card.unlink()
    run(config)
    assert card.read_text() == text  # each call writes it again


def test_a_folder_with_other_content_is_refused(rounds_config: Build, tmp_path: Path) -> None:
    (tmp_path / "rounds").mkdir()
    (tmp_path / "rounds/thesis.txt").write_text("years of work")
    with pytest.raises(ConflictError, match="thesis|no run of rounds made"):
        run(rounds_config())


def test_rounds_stop_after_labeling_when_the_samples_were_rejected_until_the_limit_is_raised(
    rounds_config: Build, tmp_path: Path
) -> None:
    (tmp_path / "bad.tar").write_bytes(tar_bytes([("0.txt", b"a red square"), ("1.txt", b"a blue square")]))
    label = rounds_config().label.model_dump(mode="json")
    label["input"]["urls"] = [str(tmp_path / "bad.tar")]

    for _ in range(2):  # a rerun stays red
        report = run(rounds_config(label=label))
        assert [stop.brake for stop in report.stops] == ["max_rejected"]
        assert "IMG_MISSING 2" in report.stops[0].why and "compile" not in report.rounds[0]
    assert "2 of 2 samples were rejected" in Path(report.report).read_text()

    label["run"]["max_rejected"] = 1.0
    said: list[str] = []
    with pytest.raises(UnfinishedError, match="no labeled sample"):
        run(rounds_config(label=label), said)
    assert "already done" in said[0]
