"""A noun that the tokenizer has no word for is named on stderr and never drawn as a negative."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from student.data.streams import load_streams
from student.prompts.unreadable_nouns import exclude_unreadable_nouns, find_unreadable_nouns
from student.settings.train import TrainSettings
from student.training.distributed import TrainingGroup
from student.training.loop import RunSignals, TrainingLoop, never_stop
from teacher.models.glip import GlipProcessor


@pytest.fixture
def processor(tiny_start: Path) -> GlipProcessor:
    return GlipProcessor.from_pretrained(tiny_start)


def test_only_a_noun_without_any_known_token_is_unreadable(processor: GlipProcessor) -> None:
    known = sorted(set(processor.tokenizer.get_vocab()) - set(processor.tokenizer.all_special_tokens))[0]

    assert find_unreadable_nouns([known, "🍵", f"{known} 🍵", "杯子"], processor) == ["🍵", "杯子"]


def test_readable_nouns_keep_their_counts(two_streams: TrainSettings, processor: GlipProcessor) -> None:
    streams = load_streams(two_streams)
    odd = [replace(stream, root_counts={**stream.root_counts, "🍵": 3}) for stream in streams]

    assert exclude_unreadable_nouns(streams, processor) == (streams, [])
    readable, unreadable = exclude_unreadable_nouns(odd, processor)
    assert unreadable == ["🍵"]
    assert [one.root_counts for one in readable] == [one.root_counts for one in streams]
    assert "🍵" not in readable[0].vocabulary.nouns


@pytest.mark.parametrize("rule", ["concepts", "words"])
def test_a_training_names_them_unless_it_goes_on_with_the_rule_of_earlier_versions(
    two_streams: TrainSettings, caplog: pytest.LogCaptureFixture, rule: str
) -> None:
    settings = two_streams.model_copy(update={"negatives": rule})
    streams = [replace(s, root_counts={**s.root_counts, "🍵": 3}) for s in load_streams(settings)]

    with caplog.at_level(logging.WARNING):
        loop = TrainingLoop(
            settings, streams, "sha256:0", TrainingGroup(), lambda *_: None, RunSignals(never_stop)
        )

    drawn = [stream.vocabulary.nouns for stream in loop.batches.streams]
    assert ("has no word for 1 nouns (🍵)" in caplog.text) == (rule == "concepts")
    assert all(("🍵" in nouns) == (rule == "words") for nouns in drawn)
