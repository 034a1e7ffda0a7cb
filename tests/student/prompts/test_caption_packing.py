"""The authors' rules for negatives: how many absent names are asked for, and captions of other images around."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from student.batches.batch_builder import BatchBuilder
from student.data.example_source import MemorySource
from student.data.examples import ExamplePhrase, TrainingExample
from student.data.order import WholeOrder
from student.data.streams import Stream, load_stream
from student.prompts.caption_packing import draw_caption_count, pack_captions
from student.prompts.training_prompt import (
    PromptSpan,
    TokenBudget,
    TrainingPrompt,
    draw_negative_count,
    make_caption_prompt,
)
from student.settings.streams import CaptionPacking, PromptMix, StreamSettings
from student.settings.train import TrainSettings
from teacher.models.glip import GlipProcessor

WIDE = TokenBudget(10_000, lambda text: len(text.split()))
ALWAYS = CaptionPacking(most=5, none=0.0, full=1.0)


def example(caption: str, *nouns: str, image: str | None = None) -> TrainingExample:
    """Return a caption whose phrases are single nouns, each with a box; without `image`, of an image of its own."""
    phrases = tuple(
        ExamplePhrase(caption.index(n), caption.index(n) + len(n), n, n, "positive", (i,))
        for i, n in enumerate(nouns)
    )
    ones = np.ones(len(nouns), np.float32)
    return TrainingExample(
        "x",
        {},
        image or f"image of {caption}",
        caption,
        phrases,
        np.zeros((len(nouns), 4), np.float32),
        ones,
        ones,
    )


OWN = example("a cat and a dog", "cat", "dog")
OTHERS = (
    example("two cat on a mat", "cat", "mat"),
    example("the red bus", "bus"),
    example("Öl & 😀 bird", "bird"),
)


def stream(
    packing: CaptionPacking = ALWAYS, examples: tuple[TrainingExample, ...] = (OWN, *OTHERS)
) -> Stream:
    settings = StreamSettings(url="x", share=1.0, packing=packing)
    order = WholeOrder(range(len(examples)), "d")
    return Stream(settings, "d", "v", False, MemorySource(examples), order, {}, {})


def packed(seed: int, budget: TokenBudget = WIDE, **changes) -> TrainingPrompt:
    return pack_captions(
        np.random.default_rng(seed), stream(**changes), 0, OWN, make_caption_prompt(OWN), budget
    )


@given(st.integers(0, 10_000))
def test_own_spans_keep_their_words_and_boxes_among_other_captions(seed: int) -> None:
    prompt = packed(seed)

    own = {prompt.text[s.begin : s.end]: s.boxes for s in prompt.spans if not s.masked}
    assert own == {"cat": (0,), "dog": (1,)}
    parts = Counter(prompt.text.removesuffix(". ").split(". "))
    assert set(parts) <= {one.caption for one in (OWN, *OTHERS)} and max(parts.values()) == 1


def test_a_packed_phrase_of_a_noun_that_the_image_has_is_masked_and_no_other_is() -> None:
    many = CaptionPacking(most=20, none=0.0, full=1.0)
    prompt = packed(0, packing=many, examples=(OWN, OTHERS[0]))

    masked = [(prompt.text[s.begin : s.end], s.boxes) for s in prompt.spans if s.masked]
    assert masked == [("cat", ())], "the mat is absent, and its tokens are plain negatives"


def test_another_caption_of_the_same_image_is_not_packed_for_it_speaks_of_what_is_there() -> None:
    again = example("the kitten beside its bowl", "kitten", "bowl", image=OWN.image_sha256)

    for seed in range(10):
        prompt = packed(seed, examples=(OWN, again, OTHERS[1]))
        assert again.caption not in prompt.text and OWN.caption in prompt.text


def test_the_order_varies_and_captions_beyond_the_budget_are_left_out() -> None:
    assert len({packed(seed).text.index(OWN.caption) for seed in range(20)}) > 2
    for seed in range(20):
        assert packed(seed, TokenBudget(9, WIDE.count)).text in (
            OWN.caption,
            "a cat and a dog. the red bus. ",
            "the red bus. a cat and a dog. ",
            "a cat and a dog. Öl & 😀 bird. ",
            "Öl & 😀 bird. a cat and a dog. ",
        )
    assert packed(0, TokenBudget(5, WIDE.count)) == make_caption_prompt(OWN)


def test_the_number_of_captions_follows_the_authors_chances() -> None:
    rng = np.random.default_rng(0)
    drawn = Counter(draw_caption_count(rng, CaptionPacking(most=20)) for _ in range(20_000))

    assert drawn[20] / 20_000 == pytest.approx(0.6 * 0.5, abs=0.01)
    assert drawn[0] / 20_000 == pytest.approx(0.4 + 0.3 / 20, abs=0.01)
    assert drawn[7] / 20_000 == pytest.approx(0.3 / 20, abs=0.005) and max(drawn) == 20


def test_the_number_of_absent_names_follows_the_authors_chances() -> None:
    rng = np.random.default_rng(0)
    authors = StreamSettings(url="x", share=1.0, negatives_min=1, negatives_max=85, negatives_full=0.5)
    drawn = Counter(draw_negative_count(rng, authors) for _ in range(20_000))

    assert drawn[85] / 20_000 == pytest.approx(0.5 + 0.5 / 85, abs=0.01)
    assert drawn[40] / 20_000 == pytest.approx(0.5 / 85, abs=0.003) and min(drawn) == 1


def test_without_these_rules_the_same_numbers_are_drawn_as_before() -> None:
    plain = StreamSettings(url="x", share=1.0)

    for seed in range(20):
        rng = np.random.default_rng(seed)
        assert draw_negative_count(np.random.default_rng(seed), plain) == int(rng.integers(0, 16))


def test_a_batch_of_packed_captions_teaches_their_words_as_absent_and_masks_what_may_be_there(
    two_streams: TrainSettings,
) -> None:
    caption = PromptMix(detection=0, phrase_list=0, caption=1)
    only = two_streams.streams[0].model_copy(update={"share": 1.0, "prompts": caption, "packing": ALWAYS})
    settings = two_streams.model_copy(update={"streams": (only,)})
    processor = GlipProcessor.from_pretrained(settings.start)

    batch = BatchBuilder(settings, [load_stream(only)], processor).build(0)

    assert any(prompt.text.count(". ") > 1 for prompt in batch.prompts)
    for row, (prompt, label) in enumerate(zip(batch.prompts, batch.labels, strict=True)):
        taught = label["positive_map"].any(dim=0) if len(label["positive_map"]) else label["token_mask"] < 0
        for span in prompt.spans:
            _check(processor, prompt, span, taught, label["token_mask"])
        unspoken = batch.attention_mask[row].bool() & ~taught & (label["token_mask"] > 0)
        assert unspoken.sum() > 2, "the packed words are heard and taught nowhere: negatives"


def _check(processor: GlipProcessor, prompt: TrainingPrompt, span: PromptSpan, taught, mask) -> None:
    (tokens,) = processor.phrase_tokens(prompt.text, [[(span.begin, span.end)]])
    if span.masked:
        assert not taught[tokens].any() and not mask[tokens].any()
    elif span.boxes:
        assert mask[tokens].all()
