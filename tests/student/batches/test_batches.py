"""What a batch promises: the tokens of the processor, several scales, images without boxes, any store and tar."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.reading.pixels import read_pixels
from engine.reading.range_reader import RangeReader
from engine.views import open_view, write_view
from pipelines.compile.materialize import materialize_webdataset
from pipelines.demo.world.build import World
from schemas.errors import EmptyPhraseError, NotFoundError
from student.batches.batch_builder import Batch, BatchBuilder
from student.batches.prefetch import prefetch_batches
from student.batches.shared_memory import MAX_BYTES, BufferedBatch, SharedBuffers
from student.data.streams import load_stream
from student.prompts.tokens import PromptTokens
from student.prompts.training_prompt import PromptSpan
from student.settings.streams import LoaderSettings, PromptMix, StreamSettings
from student.settings.train import AugmentSettings, TrainSettings
from teacher.models.glip import GlipProcessor
from tests.engine.s3_server import s3_bucket

WORDS = st.lists(
    st.sampled_from(["circle", "a", "red", "Star", "zebra", "é", "😀", ",", "left"]), max_size=90
)


def maker(run: TrainSettings, cache: Path | None = None) -> BatchBuilder:
    streams = [load_stream(stream, cache) for stream in run.streams]
    return BatchBuilder(run, streams, GlipProcessor.from_pretrained(run.start))


def equal(a: Batch, b: Batch) -> bool:
    """Whether two batches teach the same."""
    tensors = ("pixel_values", "pixel_mask", "input_ids", "attention_mask")
    return (
        a.prompts == b.prompts
        and all(torch.equal(getattr(a, name), getattr(b, name)) for name in tensors)
        and all(torch.equal(x[n], y[n]) for x, y in zip(a.labels, b.labels, strict=True) for n in x)
    )


@settings(max_examples=80)
@given(st.lists(WORDS.map(" ".join), min_size=1, max_size=4), st.data())
def test_prompt_tokens_are_what_the_processor_says(tiny_start: Path, texts: list[str], data) -> None:
    processor = GlipProcessor.from_pretrained(tiny_start)
    tokens = PromptTokens(processor, texts)
    wanted = processor.tokens(texts, tokens.width)
    ids, mask = tokens.inputs()
    assert torch.equal(ids, wanted["input_ids"]) and torch.equal(mask, wanted["attention_mask"])

    place = data.draw(st.integers(0, len(texts) - 1))
    edges = st.integers(0, len(texts[place]))
    begin, end = sorted(data.draw(st.tuples(edges, edges)))
    try:
        expected: Any = processor.phrase_tokens(texts[place], [[(begin, end)]], tokens.width)
    except EmptyPhraseError as error:
        expected = [None] if "reaches token" in str(error) else [[]]
    assert tokens.find_spans(place, [(begin, end)]) == expected


def test_a_phrase_without_a_token_ends_no_training(
    two_streams: TrainSettings,
) -> None:
    one = maker(two_streams)
    item = one.load_item(0)
    text = f" {item.prompt.text}"  # a blank is the character that every tokenizer deletes
    moved = [span._replace(begin=span.begin + 1, end=span.end + 1) for span in item.prompt.spans]
    odd = replace(item.prompt, text=text, spans=(PromptSpan(0, 1), *moved))

    batch = one.collate([replace(item, prompt=odd)])

    assert batch.counts["spans_without_token"] == 1
    assert batch.labels[0]["positive_map"].any()


def test_threads_and_batches_ahead_change_no_batch(two_streams: TrainSettings) -> None:
    plain = maker(two_streams)
    for loader in (LoaderSettings(threads=1, ahead=1), LoaderSettings(threads=4, ahead=3)):
        run = maker(two_streams.model_copy(update={"loader": loader}))
        ahead = list(prefetch_batches(run, 1, 6, rank=1, workers=2))

        assert len(ahead) == 5
        assert all(
            equal(batch, plain.build(step, 1, 2)) for step, batch in zip(range(1, 6), ahead, strict=True)
        )


@pytest.mark.slow
def test_processes_change_no_batch(two_streams: TrainSettings) -> None:
    run = maker(two_streams.model_copy(update={"loader": LoaderSettings(processes=2)}))
    ahead = list(prefetch_batches(run, 1, 4))

    assert all(equal(batch, maker(two_streams).build(1 + place)) for place, batch in enumerate(ahead))
    assert len(ahead) == 3 and ahead[0].counts and ahead[0].global_size == 4


def test_a_batch_taken_from_a_buffer_is_the_one_put_there_though_the_buffer_is_used_again(
    two_streams: TrainSettings,
) -> None:
    made = maker(two_streams)
    batches = [made.build(step) for step in range(5)]
    buffers = SharedBuffers(2, made.batch_bytes())
    taken = []
    for step in range(0, 4, 2):
        held = [buffers.put(step + place, batches[step + place]) for place in range(2)]
        assert all(isinstance(one, BufferedBatch) for one in held)
        taken += [buffers.take(one) for one in held]

    assert all(equal(one, batch) for one, batch in zip(taken, batches))
    assert taken[0].pixel_values.dtype == torch.float32 and taken[0].input_ids.dtype == torch.int64
    assert taken[0].counts == batches[0].counts and taken[0].names == batches[0].names


def test_a_buffer_used_too_early_has_another_batch(two_streams: TrainSettings) -> None:
    made = maker(two_streams)
    buffers = SharedBuffers(2, made.batch_bytes())
    held = buffers.put(0, made.build(0))
    buffers.put(2, made.build(2))

    assert not torch.equal(buffers.take(held).pixel_values, made.build(0).pixel_values)


@pytest.mark.parametrize("room_bytes", [0, 1000, MAX_BYTES])
def test_a_batch_that_fits_into_no_buffer_is_pickled_whole(
    two_streams: TrainSettings, room_bytes: int
) -> None:
    batch, buffers = maker(two_streams).build(0), SharedBuffers(2, room_bytes)

    assert buffers.put(0, batch) is batch and buffers.take(batch) is batch


def test_no_more_batches_are_made_ahead_than_were_asked_for(two_streams: TrainSettings) -> None:
    run = maker(two_streams.model_copy(update={"loader": LoaderSettings(threads=2, ahead=2)}))
    begun: list[int] = []
    item = run.load_item
    run.load_item = lambda slot: begun.append(slot) or item(slot)  # type: ignore[method-assign, func-returns-value]
    coming = prefetch_batches(run, 0, 100)
    next(coming)
    coming.close()

    assert max(begun) < (1 + 2) * two_streams.batch_size


def test_an_error_of_an_image_reaches_the_caller_at_its_step(two_streams: TrainSettings) -> None:
    run = maker(two_streams)
    item = run.load_item

    def failing(slot: int) -> Any:
        if slot == 2 * two_streams.batch_size:
            raise NotFoundError("gone")
        return item(slot)

    run.load_item = failing  # type: ignore[method-assign]
    coming = prefetch_batches(run, 0, 6)
    assert len([next(coming), next(coming)]) == 2
    with pytest.raises(NotFoundError, match="gone"):
        next(coming)


def test_images_come_at_several_scales_and_their_boxes_with_them(two_streams: TrainSettings) -> None:
    still = AugmentSettings(flip=0, zoom=0, shift=0, scales=(64, 96, 160))
    processor = GlipProcessor.from_pretrained(two_streams.start)
    processor.longer_side = 200
    run = two_streams.model_copy(update={"augment": still, "steps": 8})
    one = BatchBuilder(run, [load_stream(stream) for stream in run.streams], processor)
    sides = set()
    for slot in range(32):
        item = one.load_item(slot)
        sides.add(item.image.shape[0])
        batch = one.collate([item])
        assert batch.pixel_mask.shape[1] % 32 == 0
        ratio = item.image.shape[0] / item.stored_hw[0]
        reach = item.example.boxes_xyxy_px_G4.max() * ratio
        for label in batch.labels:
            assert not len(label["boxes"]) or float(label["boxes"].max()) <= reach

    assert sides == {64, 96, 160}
    assert equal(one.build(1), BatchBuilder(run, one.streams, processor).build(1))


def test_an_image_without_boxes_is_asked_about_and_teaches_that_nothing_is_there(
    two_streams: TrainSettings, tiny_world: World, tmp_path: Path
) -> None:
    rows = [{**row, "phrases": [], "regions": []} for row in open_view(tiny_world.gold_view).rows()]
    named = next(open_view(tiny_world.gold_view).rows())
    write_view(str(tmp_path / "empty"), [*rows[:-1], {**named, "index": 19}], kind="gold", provenance={})
    mix = PromptMix(detection=1, phrase_list=0, caption=0)
    stream = StreamSettings(url=str(tmp_path / "empty"), share=1, prompts=mix, negatives_min=1)

    batch = maker(two_streams.model_copy(update={"streams": (stream,), "batch_size": 8})).build(0)

    empty = [
        label for label, prompt in zip(batch.labels, batch.prompts) if not any(s.boxes for s in prompt.spans)
    ]
    assert len(empty) >= 6 and all(len(label["boxes"]) == 0 for label in empty)
    assert all(bool((label["token_mask"] == 1).all()) for label in empty)
    assert all(prompt.spans for prompt in batch.prompts)


def test_training_reads_the_view_beside_materialized_tars(two_streams: TrainSettings, tmp_path: Path) -> None:
    materialize_webdataset(two_streams.streams[0].url, str(tmp_path / "tars"))
    there = tuple(one.model_copy(update={"url": str(tmp_path / "tars/view")}) for one in two_streams.streams)

    here, tars = maker(two_streams), maker(two_streams.model_copy(update={"streams": there}))

    assert [s.digest for s in here.streams] == [s.digest for s in tars.streams]
    assert all(equal(here.build(step), tars.build(step)) for step in range(3))


def test_a_range_reader_reads_what_read_pixels_reads(two_streams: TrainSettings, tmp_path: Path) -> None:
    materialize_webdataset(two_streams.streams[0].url, str(tmp_path / "tars"))
    places = [row["pixels"] for row in open_view(str(tmp_path / "tars/view")).rows()]
    reader = RangeReader({str(tmp_path): str(tmp_path)})

    assert [reader.read(place) for place in places] == [read_pixels(place) for place in places]
    with pytest.raises(NotFoundError, match="differs from the one that was labeled"):
        reader.read({**places[0], "offset": 10**9})
    with pytest.raises(NotFoundError, match="in `roots`"):
        reader.read({**places[0], "url": str(tmp_path / "none.tar")})


@pytest.mark.filterwarnings("ignore")
def test_a_large_view_and_its_tars_train_from_object_storage_as_from_disk(
    two_streams: TrainSettings, tmp_path: Path
) -> None:
    run = two_streams.model_copy(update={"steps": 4})
    with s3_bucket() as (url, storage):
        materialize_webdataset(two_streams.streams[0].url, f"{url}/tars", storage=storage)
        materialize_webdataset(two_streams.streams[0].url, str(tmp_path / "tars"))

        def at(place: str, **values: Any) -> TrainSettings:
            large = {"url": f"{place}/tars/view", "shuffle_window": 8, **values}
            return run.model_copy(update={"streams": tuple(s.model_copy(update=large) for s in run.streams)})

        disk = maker(at(str(tmp_path)), tmp_path / "cache")
        bucket = maker(at(url, storage=storage), tmp_path / "cache")
        there = list(prefetch_batches(bucket, 0, 4))

    assert all(equal(disk.build(step), there[step]) for step in range(4))
    assert np.array_equal(disk.streams[0].digest, bucket.streams[0].digest)
