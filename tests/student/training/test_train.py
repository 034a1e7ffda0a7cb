"""Training runs: pure batches, fair controls, and a kill that changes nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from engine.views import open_view, write_view
from pipelines.demo.world.build import World
from schemas.errors import ConfigError, ConflictError, RuntimeEnvironmentError
from student.batches.batch_builder import BatchBuilder
from student.batches.prefetch import prefetch_batches
from student.data.streams import load_stream
from student.settings.streams import PromptMix, StreamSettings
from student.settings.train import HardNegatives, TrainSettings
from student.training.checkpoints import RECORD, latest_checkpoint
from student.training.metrics_log import read_metrics
from student.training.report import run_digest
from student.training.schedule import learning_rate
from student.training.train import train
from teacher.models.glip import GlipForGrounding, GlipProcessor


class Killed(BaseException):
    """Stands for a SIGKILL: nothing in the code under test can catch it by accident."""


def kill_at(step: int):
    def progress(label: str, done: int, total: int) -> None:
        if done == step:
            raise Killed

    return progress


def maker(settings: TrainSettings) -> BatchBuilder:
    streams = [load_stream(stream) for stream in settings.streams]
    return BatchBuilder(settings, streams, GlipProcessor.from_pretrained(settings.start))


def losses(out: str | Path) -> list[tuple[int, float]]:
    return [(record["step"], record["loss"]) for record in read_metrics(Path(out))]


def test_a_batch_is_a_function_of_its_step(two_streams: TrainSettings) -> None:
    first, other = maker(two_streams), maker(two_streams)
    first.build(0)

    a, b = first.build(3), other.build(3)

    assert a.names == b.names and a.prompts == b.prompts
    assert torch.equal(a.pixel_values, b.pixel_values) and torch.equal(a.input_ids, b.input_ids)
    assert all(torch.equal(x[name], y[name]) for x, y in zip(a.labels, b.labels, strict=True) for name in x)


@pytest.mark.parametrize("workers", [2, 4, 8])
def test_workers_shares_together_are_the_batch_of_one(two_streams: TrainSettings, workers: int) -> None:
    one = maker(two_streams.model_copy(update={"batch_size": 8}))
    for step in (0, 3):
        whole = one.build(step)
        shares = [one.build(step, rank, workers) for rank in range(workers)]

        assert [name for share in shares for name in share.names] == whole.names
        assert [prompt for share in shares for prompt in share.prompts] == whole.prompts
        assert torch.equal(torch.cat([share.pixel_values for share in shares]), whole.pixel_values)
        assert {share.global_size for share in shares} == {8} == {whole.global_size}


def test_a_batch_that_workers_cannot_share_evenly_is_refused(two_streams: TrainSettings) -> None:
    with pytest.raises(ConfigError, match=r"batch_size \(4\) cannot be shared by 3 workers"):
        maker(two_streams).build(0, rank=0, workers=3)


def test_batches_made_ahead_are_the_batches_in_order(two_streams: TrainSettings) -> None:
    one = maker(two_streams)

    assert [batch.names for batch in prefetch_batches(one, 2, 5)] == [
        one.build(step).names for step in (2, 3, 4)
    ]


def test_spans_and_token_maps_agree_after_every_augmentation(two_streams: TrainSettings) -> None:
    one = maker(two_streams)
    for step in range(12):
        batch = one.build(step)
        for ids, prompt, labels in zip(batch.input_ids, batch.prompts, batch.labels, strict=True):
            asked = {
                i
                for span in prompt.spans
                if span.boxes
                for i in one.processor.phrase_tokens(prompt.text, [[(span.begin, span.end)]])[0]
            }
            assert set(torch.nonzero(labels["positive_map"].sum(0)).flatten().tolist()) <= asked
            assert labels["positive_map"].shape[1] == len(ids)
        assert "spans_past_token_limit" not in batch.counts


def test_the_control_meets_the_students_prompt_kinds_slot_by_slot(
    two_streams: TrainSettings, pseudo_view: str
) -> None:
    web = two_streams.streams[1].model_copy(update={"url": pseudo_view})
    control = maker(two_streams)
    student = maker(two_streams.model_copy(update={"streams": (two_streams.streams[0], web)}))

    assert [control.load_item(slot).prompt.kind for slot in range(60)] == [
        student.load_item(slot).prompt.kind for slot in range(60)
    ]


def test_unresolved_phrases_move_no_weight(two_streams: TrainSettings, pseudo_view: str) -> None:
    """The loss of a masked token is gone whatever the model says there: its logits get no gradient."""
    web = StreamSettings(url=pseudo_view, share=1.0, prompts=PromptMix(detection=0, phrase_list=0, caption=1))
    one = maker(two_streams.model_copy(update={"streams": (web,)}))
    batch = one.build(0)
    masks = torch.stack([labels["token_mask"] for labels in batch.labels])
    model = GlipForGrounding.from_pretrained(two_streams.start)
    outputs = model(
        batch.pixel_values, batch.pixel_mask, batch.input_ids, batch.attention_mask, labels=batch.labels
    )
    outputs.token_logits.retain_grad()
    outputs.loss_dict["loss_dot_product_token"].backward()

    gradient_BT = outputs.token_logits.grad.abs().sum(dim=1)
    assert (masks == 0).any(dim=1).all()
    assert (gradient_BT[masks == 0] == 0).all()
    assert (gradient_BT[(masks == 1) & (batch.attention_mask == 1)] > 0).all()


def test_a_killed_run_continues_the_same_curve_to_the_same_weights(
    two_streams: TrainSettings, tmp_path: Path
) -> None:
    calm = two_streams.model_copy(update={"out": str(tmp_path / "calm")})
    whole = train(calm)
    for step in (3, 5):
        with pytest.raises(Killed):
            train(two_streams, kill_at(step))
    again = train(two_streams)

    assert losses(two_streams.out) == losses(calm.out)
    assert again == whole
    assert len(losses(calm.out)) == calm.steps


def test_averaged_weights_survive_a_kill_and_differ_from_the_last_ones(
    two_streams: TrainSettings, tmp_path: Path
) -> None:
    averaged = two_streams.model_copy(update={"ema_decay": 0.5, "steps": 4})
    whole = train(averaged.model_copy(update={"out": str(tmp_path / "calm")}))
    with pytest.raises(Killed):
        train(averaged, kill_at(3))
    plain = train(averaged.model_copy(update={"out": str(tmp_path / "plain"), "ema_decay": None}))

    assert train(averaged)["model_sha256"] == whole["model_sha256"] != plain["model_sha256"]


def test_a_checkpoint_without_its_record_is_not_read(two_streams: TrainSettings) -> None:
    with pytest.raises(Killed):
        train(two_streams, kill_at(5))
    folder = Path(two_streams.out) / "checkpoints"
    digest = json.loads((folder / "step-00000004" / RECORD).read_text())["run_digest"]
    assert latest_checkpoint(folder, digest) == (folder / "step-00000004", 4)

    (folder / "step-00000004" / RECORD).unlink()

    assert latest_checkpoint(folder, digest) == (folder / "step-00000002", 2)


def test_a_finished_run_is_not_repeated_and_another_one_is_refused(two_streams: TrainSettings) -> None:
    short = two_streams.model_copy(update={"steps": 2})
    report = train(short)

    assert train(short, kill_at(1)) == report
    with pytest.raises(ConflictError, match="choose another `out`"):
        train(two_streams)


@pytest.mark.parametrize("text", ["garbage", "[]", "{}", '{"step": null, "run_digest": "x"}'])
def test_a_checkpoints_record_that_is_none_is_told_with_what_to_remove(tmp_path: Path, text: str) -> None:
    (tmp_path / "step-00000004").mkdir()
    (tmp_path / "step-00000004" / RECORD).write_text(text)

    with pytest.raises(
        ConflictError,
        match="is not the record of a checkpoint .* remove .*step-00000004, and the run continues",
    ):
        latest_checkpoint(tmp_path, "sha256:1")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told_as_such(two_streams: TrainSettings) -> None:
    with pytest.raises(RuntimeEnvironmentError, match="device is cuda and this process sees no GPU"):
        train(two_streams.model_copy(update={"device": "cuda"}))


def test_a_finished_run_whose_model_is_gone_or_damaged_makes_it_again(two_streams: TrainSettings) -> None:
    report = train(two_streams)
    model = Path(two_streams.out) / "model"
    (model / "config.json").unlink()
    assert train(two_streams) == report

    weights = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(weights[:-1])
    assert train(two_streams) == report
    assert (model / "model.safetensors").read_bytes() == weights


def test_another_configuration_or_tokenizer_of_the_start_is_another_run(
    two_streams: TrainSettings, tmp_path: Path
) -> None:
    streams = [load_stream(stream) for stream in two_streams.streams]
    digests = {run_digest(two_streams, streams)}
    for name, old, new in (
        ("config.json", '"token_loss_weight": 6', '"token_loss_weight": 5'),
        ("processor_config.json", '"max_tokens": 64', '"max_tokens": 32'),
    ):
        start = shutil.copytree(two_streams.start, tmp_path / name)
        text = (start / name).read_text()
        assert old in text
        (start / name).write_text(text.replace(old, new))
        digests.add(run_digest(two_streams.model_copy(update={"start": str(start)}), streams))

    assert len(digests) == 3


def test_where_the_data_lies_is_no_part_of_a_run(
    two_streams: TrainSettings, tiny_world: World, tmp_path: Path
) -> None:
    rows = list(open_view(tiny_world.gold_view).rows())
    for row in rows:
        row["pixels"] = {**row["pixels"], "url": "s3://elsewhere/" + row["key"]}
    write_view(str(tmp_path / "moved"), rows, kind="gold", provenance={})
    moved = StreamSettings(url=str(tmp_path / "moved"), share=1.0)
    here = StreamSettings(url=tiny_world.gold_view, share=1.0)

    digests = {
        run_digest(two_streams.model_copy(update={"streams": (stream,)}), [load_stream(stream)])
        for stream in (moved, here)
    }
    assert len(digests) == 1


def test_an_image_that_is_not_the_one_labeled_stops_the_run(
    two_streams: TrainSettings, tiny_world: World, tmp_path: Path
) -> None:
    rows = list(open_view(tiny_world.gold_view).rows())
    other = rows[1]["pixels"]
    for row in rows:
        row["pixels"] = other
    write_view(str(tmp_path / "swapped"), rows, kind="gold", provenance={})
    stream = StreamSettings(url=str(tmp_path / "swapped"), share=1.0)

    with pytest.raises(ConflictError, match="not the one that was labeled"):
        train(two_streams.model_copy(update={"streams": (stream,)}))


def test_the_saved_model_loads_and_says_what_it_learned_from(two_streams: TrainSettings) -> None:
    report = train(two_streams.model_copy(update={"steps": 2}))
    folder = Path(two_streams.out) / "model"
    card = (folder / "README.md").read_text()

    assert GlipForGrounding.from_pretrained(folder).config.num_levels == 3
    assert all(stream["digest"] in card for stream in report["streams"]) and report["run_digest"] in card
    assert report["start_sha256"] in card and "gold: 20 not stated" in card
    assert two_streams.start not in card and two_streams.streams[0].url not in card
    assert sum(report["counts"].values()) == report["images_seen"] == 8
    start = load_file(Path(two_streams.start) / "model.safetensors")
    assert any(
        not torch.equal(start[name], value) for name, value in load_file(folder / "model.safetensors").items()
    )


def test_a_view_cannot_serve_phrase_lists(pseudo_view: str) -> None:
    with pytest.raises(ConfigError, match="phrase_list share must be 0"):
        load_stream(StreamSettings(url=pseudo_view, share=1.0))


def test_an_attribute_group_without_a_choice_is_refused() -> None:
    with pytest.raises(ValidationError, match="has fewer than two words"):
        HardNegatives(attributes=(("red", "blue"), ("striped",)))


def test_a_noun_that_is_only_said_to_be_absent_makes_no_image_rare(tiny_world: World, tmp_path: Path) -> None:
    rows = []
    for row in open_view(tiny_world.gold_view).rows():
        absent = {"begin": 0, "end": 1, "text": row["caption"][0], "root": "wug", "fate": "absent"}
        row["phrases"].append({**row["phrases"][0], **absent})
        if row["index"] == 0:
            row["phrases"][-1]["fate"] = "positive"
            row["regions"].append({**row["regions"][0], "phrase": len(row["phrases"]) - 1})
        rows.append(row)
    write_view(str(tmp_path / "said"), rows, kind="gold", provenance={})

    stream = load_stream(StreamSettings(url=str(tmp_path / "said"), share=1.0, repeat_threshold=0.45))

    (only,) = [
        row for row in range(20) if any(p.root == "wug" and p.boxes for p in stream.examples[row].phrases)
    ]
    assert [stream.order.row(i, "0", 0) for i in range(len(stream.order))].count(only) == 3


def test_shares_that_do_not_add_up_are_refused(two_streams: TrainSettings) -> None:
    values = two_streams.model_dump()
    values["streams"] = values["streams"][:1]

    with pytest.raises(ValidationError, match="add up to 0.3"):
        TrainSettings.model_validate(values)


def test_the_learning_rate_warms_up_and_ends_at_its_floor(two_streams: TrainSettings) -> None:
    run = two_streams.model_copy(update={"steps": 100, "warmup_steps": 10, "learning_rate": 1.0})
    rates = [learning_rate(step, run) for step in range(100)]

    assert rates[0] == pytest.approx(0.1) and rates[9] == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0.01) and rates[10:] == sorted(rates[10:], reverse=True)


def test_prompt_tuning_learns_its_offsets_alone_and_says_how_many(two_streams: TrainSettings) -> None:
    prompt = "circle. square. star"
    streams = tuple(
        stream.model_copy(update={"prompts": PromptMix(detection=1, phrase_list=0, caption=0)})
        for stream in two_streams.streams
    )
    settings = two_streams.model_copy(
        update={"streams": streams, "tuning": "prompt", "tuning_prompt": prompt, "steps": 2}
    )

    report = train(settings)

    start, model = (
        load_file(Path(f) / "model.safetensors") for f in (settings.start, settings.out + "/model")
    )
    assert set(model) - set(start) == {"model.prompt_offset.table"}
    assert all(torch.equal(model[name], value) for name, value in start.items())
    assert model["model.prompt_offset.table"].abs().sum() > 0
    assert report["tuning"] == {"mode": "prompt", "learned": model["model.prompt_offset.table"].numel()}
    assert GlipForGrounding.from_pretrained(settings.out + "/model").config.tuned_prompt == prompt
    assert "one prompt alone: `circle. square. star`" in (Path(settings.out) / "model/README.md").read_text()
    assert {one.text for one in maker(settings).build(0).prompts} == {prompt}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tuning": "prompt"}, "belong together"),
        ({"tuning": "linear", "tuning_prompt": "cat"}, "belong together"),
        ({"tuning": "prompt", "tuning_prompt": "cat. dog"}, "detection: 1"),
        ({"tuning": "prompt", "tuning_prompt": "left hand", "streams": "detection"}, "left or right"),
    ],
)
def test_a_tuning_that_cannot_be_meant_is_refused(two_streams: TrainSettings, changes, message) -> None:
    values = two_streams.model_dump() | changes
    if changes.get("streams") == "detection":
        mix = {"detection": 1, "phrase_list": 0, "caption": 0}
        values["streams"] = [stream.model_dump() | {"prompts": mix} for stream in two_streams.streams]

    with pytest.raises(ValidationError, match=message):
        TrainSettings.model_validate(values)
