"""Texts for models that read several phrases in one prompt: cleaned without moving a span, and tokenized whole."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import Phrase
from teacher.huggingface.prompt_text import NO_TOKEN, WIDTHS, PromptTokenizer, choose_width
from teacher.prompts.packing import PackedPrompt, PhraseSpan, pack
from tests.mutations import Mutation
from tests.teacher.huggingface.tiny_models import CLS, DOT, QUESTION, SEP, bert_vocabulary

UNKNOWN = 100
LIMIT = 24

PIECES = st.sampled_from(
    [
        *(
            "a red dog",
            "cats",
            "St. Bernard",
            "what?",
            ".",
            "?",
            "...",
            " ",
            "  ",
            "\n",
            "\t",
            "\x00",
            "\x1c",
            "\u200b",
        ),
        *(
            "[SEP]",
            "[sep]",
            "[Cls]",
            "[PAD",
            "]",
            "[MASK]",
            "[unused5]",
            "DOG",
            "İ",
            "Σ",
            "ß",
            "ﬁ",
            "é",
            "e\u0301",
        ),
        *(
            "\u037e",
            "．",
            "…",
            "犬",
            "🐶",
            "👩\u200d🚀",
            "\ufeff",
            "\u0301\u0301",
            "\U0010ffff",
            "x" * 130,
            "Ⅷ",
            "ǅ",
        ),
    ]
)
TEXTS = st.lists(st.one_of(PIECES, st.text(max_size=3)), max_size=14).map("".join)


@st.composite
def captions(draw: st.DrawFn) -> tuple[str, list[tuple[int, int]]]:
    """Draw a caption and spans in it, which may be nested, overlap or be equal."""
    caption = draw(TEXTS.filter(bool))
    places = st.integers(0, len(caption))
    pairs = st.tuples(places, places).map(lambda pair: (min(pair), max(pair)))
    return caption, draw(st.lists(pairs.filter(lambda pair: pair[0] < pair[1]), min_size=1, max_size=8))


@cache
def load_tokenizer(limit: int = LIMIT, lower: bool = True) -> PromptTokenizer:
    from transformers import BertTokenizerFast

    return PromptTokenizer(BertTokenizerFast(vocab=bert_vocabulary(), do_lower_case=lower), limit)


def tokenize(
    text: str, *spans: tuple[int, int], lower: bool = True
) -> tuple[list[int], list[tuple[int, ...]]]:
    """Return the token ids of a text, and those of each span that has some."""
    prompt = PackedPrompt(text, tuple(PhraseSpan(n, *span) for n, span in enumerate(spans)))
    tokens = load_tokenizer(lower=lower).tokenize(prompt)
    return list(tokens.input_ids), [tuple(tokens.input_ids[place] for place in own) for own in tokens.tokens]


def test_a_span_has_the_tokens_of_its_own_words() -> None:
    assert tokenize("A red dog. two cats", (0, 9), (11, 19))[1] == [(200, 203, 208), (224, 211)]
    assert tokenize("a dog", (0, 5))[0] == [CLS, 200, 208, DOT, SEP]


@given(captions())
def test_cleaning_keeps_the_length_and_what_is_outside_separators_and_special_tokens(
    drawn: tuple[str, list[tuple[int, int]]],
) -> None:
    text, spans = drawn
    tokenizer = load_tokenizer()

    cleaned = tokenizer.clean(text, spans)

    assert len(cleaned) - len(text) in (0, 1) and cleaned.rstrip().endswith(".")
    assert len(cleaned) == len(text) or cleaned[-1] == "."
    for place, (old, new) in enumerate(zip(text, cleaned, strict=False)):
        inside = any(begin <= place < end for begin, end in spans)
        assert new == " " or new.lower() == old.lower()
        assert not (inside and new in ".?")
    assert tokenizer.clean(cleaned, spans) == cleaned


@given(captions())
def test_no_special_token_and_no_separator_is_inside_a_phrase(
    drawn: tuple[str, list[tuple[int, int]]],
) -> None:
    text, spans = drawn

    ids, phrases = tokenize(text, *spans)

    assert ids[0] == CLS and ids[-1] == SEP and ids[-2] == DOT
    assert ids.count(CLS) == ids.count(SEP) == 1 and 0 not in ids and 103 not in ids
    assert all(not {CLS, SEP, DOT, QUESTION} & set(own) and own for own in phrases)


@pytest.mark.parametrize("mode", ["phrases", "auto", "caption"])
@given(drawn=captions())
def test_every_phrase_is_whole_in_one_prompt_or_dropped_with_a_reason(
    mode: str, drawn: tuple[str, list[tuple[int, int]]]
) -> None:
    caption, spans = drawn
    tokenizer = load_tokenizer()
    phrases = [Phrase(begin=b, end=e, text=caption[b:e], root="") for b, e in spans]
    phrases.append(Phrase(text="a red star", root="star", kind="decoy"))

    plan = pack(caption, phrases, tokenizer.budget, mode)  # type: ignore[arg-type]

    asked = [tokenizer.tokenize(prompt) for prompt in plan.prompts]
    numbers = [n for tokens in asked for n in (*tokens.phrases, *tokens.missed)] + [
        n for n, _ in plan.dropped
    ]
    assert sorted(numbers) == list(range(len(phrases)))
    for prompt, tokens in zip(plan.prompts, asked, strict=True):
        assert len(tokens.input_ids) <= LIMIT, "packing counted the same tokens"
        for span in prompt.spans:
            assert prompt.text[span.begin : span.end] == phrases[span.phrase].text
        for number, own in zip(tokens.phrases, tokens.tokens, strict=True):
            alone = tokenize(phrases[number].text, (0, len(phrases[number].text)))[1]
            assert own == tuple(range(own[0], own[0] + len(own))), "its tokens are adjacent"
            assert mode != "phrases" or [tuple(tokens.input_ids[place] for place in own)] == alone


def test_a_phrase_without_a_token_is_missed_and_not_scored() -> None:
    prompt = PackedPrompt(
        "a dog ?. \u200b [SEP]",
        tuple(PhraseSpan(n, *s) for n, s in enumerate([(0, 5), (6, 8), (9, 10), (11, 16)])),
    )

    tokens = load_tokenizer().tokenize(prompt)

    assert (tokens.phrases, tokens.missed) == ((0,), (1, 2, 3)) and NO_TOKEN == "PH_NO_TOKEN"


def test_upper_case_is_lowered_for_a_tokenizer_that_keeps_case() -> None:
    assert tokenize("A RED Dog", (2, 9), lower=False) == tokenize("a red dog", (2, 9), lower=False)
    assert UNKNOWN not in tokenize("A RED Dog", lower=False)[0]


def test_special_tokens_of_any_case_are_no_tokens() -> None:
    for text in ("[SEP]", "[sep]", "[Sep]", "[PAD]", "[CLS][MASK]", "[UNK]"):
        assert tokenize(f"a {text} dog") == tokenize("a dog")
    assert tokenize("[S[SEP]EP] dog")[0].count(SEP) == 1, "removing one makes no other"


def test_stored_truncation_and_padding_of_a_tokenizer_are_not_applied() -> None:
    from transformers import BertTokenizerFast

    stored = BertTokenizerFast(vocab=bert_vocabulary(), do_lower_case=True, model_max_length=8)
    stored.backend_tokenizer.enable_truncation(max_length=6)
    stored.backend_tokenizer.enable_padding(length=40)
    text = "a red dog and a red cat and a red car"

    assert PromptTokenizer(stored, LIMIT).count(text) == load_tokenizer().count(text) == 14


@given(st.integers(1, 256))
def test_the_padded_width_is_the_smallest_that_holds_the_text(tokens: int) -> None:
    width = choose_width(tokens, 256)

    assert width in WIDTHS and width >= tokens and (width == 32 or width // 2 < tokens)
    assert choose_width(min(tokens, 40), 40) == (32 if tokens <= 32 else 40)


FILE = "teacher/huggingface/prompt_text.py"
CLEAN = test_cleaning_keeps_the_length_and_what_is_outside_separators_and_special_tokens.__name__
SPECIAL = test_special_tokens_of_any_case_are_no_tokens.__name__
INSIDE = test_no_special_token_and_no_separator_is_inside_a_phrase.__name__
WHOLE = test_every_phrase_is_whole_in_one_prompt_or_dropped_with_a_reason.__name__
LOWERED = test_upper_case_is_lowered_for_a_tokenizer_that_keeps_case.__name__
MUTATIONS = (
    Mutation(FILE, "return lower if len(lower) == 1 else character", "return lower", CLEAN),
    Mutation(FILE, 'text.replace(special, " " * len(special))', 'text.replace(special, " ")', CLEAN),
    Mutation(FILE, 'text.replace(special, " " * len(special))', "text", SPECIAL),
    Mutation(FILE, "for name in (text, text.lower())", "for name in (text,)", SPECIAL),
    Mutation(FILE, 'text = "".join(map(_lower, text))', "pass", LOWERED),
    Mutation(FILE, "if characters[place] in _SEPARATORS:", "if False:", INSIDE),
    Mutation(FILE, "cleaned if cleaned.rstrip().endswith(END) else cleaned + END", "cleaned", INSIDE),
    Mutation(
        FILE,
        "if start < min(span.end, stop) and stop > span.begin",
        "if start <= span.end and stop >= span.begin",
        WHOLE,
    ),
    Mutation(FILE, "self._encode(self.clean(text))", "self._encode(text)", WHOLE),
    Mutation(
        FILE,
        "truncation=False",
        "truncation=True",
        test_stored_truncation_and_padding_of_a_tokenizer_are_not_applied.__name__,
    ),
    Mutation(
        FILE,
        "if width >= tokens",
        "if width > tokens",
        test_the_padded_width_is_the_smallest_that_holds_the_text.__name__,
    ),
    Mutation(
        FILE, "if not own)", "if False)", test_a_phrase_without_a_token_is_missed_and_not_scored.__name__
    ),
)
