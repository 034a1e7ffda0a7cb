"""The mixture: shares said in three ways, caps, and slots that are dealt without a gap."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.errors import ConfigError
from student.batches.batch_builder import BatchBuilder
from student.data.mixture import Mixture, compute_shares, count_slots, locate_slot, sample_limit
from student.data.streams import load_stream
from student.settings.streams import MixtureSettings, StreamSettings
from student.settings.train import TrainSettings
from teacher.models.glip import GlipProcessor

PARTS = st.lists(st.integers(1, 9), min_size=1, max_size=4)


def streams(**values) -> list[StreamSettings]:
    ((name, each),) = values.items()
    return [StreamSettings(**{"url": "x", name: value}) for value in each]


def test_per_epoch_an_epoch_takes_so_many_times_each_streams_images() -> None:
    shares = compute_shares(streams(per_epoch=[2, 0.5]), MixtureSettings(), [100, 1000])

    assert shares == pytest.approx([200 / 700, 500 / 700])
    assert count_slots(700, shares) == [200, 500]


@pytest.mark.parametrize(("temperature", "expected"), [(1, [0.1, 0.9]), (2, [0.25, 0.75]), (1e9, [0.5, 0.5])])
def test_temperature_draws_small_streams_nearer_to_large_ones(
    temperature: float, expected: list[float]
) -> None:
    shares = compute_shares(streams(url="xy"), MixtureSettings(temperature=temperature), [100, 900])

    assert shares == pytest.approx(expected, abs=1e-6)


@given(PARTS, st.integers(0, 400))
def test_quotas_count_what_the_slots_were_dealt(parts: list[int], slots: int) -> None:
    shares = [part / sum(parts) for part in parts]
    dealt = Counter(locate_slot(slot, shares)[0] for slot in range(slots))

    assert count_slots(slots, shares) == [dealt[stream] for stream in range(len(shares))]


@given(PARTS, st.data())
def test_a_capped_stream_gives_exactly_its_limit_and_no_ordinal_is_lost_or_doubled(parts, data) -> None:
    shares = [part / sum(parts) for part in parts]
    limits = [data.draw(st.none() | st.integers(1, 60)) for _ in parts]
    mixture = Mixture(shares, limits)
    slots = 300 if mixture.slots is None else min(300, mixture.slots)
    seen: Counter[int] = Counter()
    for slot in range(slots):
        stream, ordinal = mixture.locate(slot)
        assert ordinal == seen[stream]
        seen[stream] += 1

    assert all(limit is None or seen[stream] <= limit for stream, limit in enumerate(limits))
    assert (mixture.slots is None) == (None in limits)
    if mixture.slots is not None:
        assert mixture.slots == sum(limits)
        with pytest.raises(IndexError, match="ends after"):
            mixture.locate(mixture.slots)


def test_the_share_of_a_stream_that_has_given_all_is_dealt_to_the_others_in_their_shares() -> None:
    mixture = Mixture([0.5, 0.3, 0.2], [50, None, None])
    later = Counter(mixture.locate(slot)[0] for slot in range(100, 200))

    assert later == {1: 60, 2: 40}


def test_a_limit_is_the_smaller_of_epochs_and_samples() -> None:
    assert sample_limit(StreamSettings(url="x", share=1), 7) is None
    assert sample_limit(StreamSettings(url="x", share=1, max_epochs=1.5), 7) == 11
    assert sample_limit(StreamSettings(url="x", share=1, max_epochs=3, max_samples=5), 7) == 5


@pytest.mark.parametrize(
    ("first", "second", "mixture", "message"),
    [
        ({"share": 0.5}, {}, {}, "give every stream a share"),
        ({"share": 0.5}, {"share": 0.4}, {}, "add up to 0.9"),
        ({"share": 0.5}, {"per_epoch": 1}, {}, "exclude each other"),
        ({"share": 0.5}, {"share": 0.5}, {"temperature": 2}, "exclude each other"),
    ],
)
def test_shares_that_are_said_in_two_ways_or_none_are_refused(
    two_streams: TrainSettings, first: dict, second: dict, mixture: dict, message: str
) -> None:
    values = two_streams.model_dump()
    values |= {"streams": [{"url": "x", **first}, {"url": "x", **second}], "mixture": mixture}

    with pytest.raises(ValidationError, match=message):
        TrainSettings.model_validate(values)


def test_a_mixture_that_ends_before_the_last_step_is_refused_before_the_first(
    two_streams: TrainSettings,
) -> None:
    capped = tuple(one.model_copy(update={"max_samples": 10}) for one in two_streams.streams)
    settings = two_streams.model_copy(update={"streams": capped})
    processor = GlipProcessor.from_pretrained(settings.start)
    loaded = [load_stream(stream) for stream in capped]

    with pytest.raises(ConfigError, match="need 24 samples, the mixture ends after 20"):
        BatchBuilder(settings, loaded, processor)
    BatchBuilder(settings.model_copy(update={"steps": 5}), loaded, processor)
