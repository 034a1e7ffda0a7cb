"""The choice of decoys: what they never share with a caption, what they depend on, and the table of nouns."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.decoys import ONE_IN, DecoyPool, is_probe_noun, parse_pool
from schemas.errors import ConfigError, ConflictError
from schemas.labeler import FoundPhrases
from schemas.records import Phrase, Pixels, Sample
from teacher.decoys.chooser import FrozenPoolChooser
from teacher.decoys.pool import pool_from_captions, pool_from_file
from teacher.decoys.relations import Relations
from teacher.nouns.names import find_caption_nouns
from teacher.nouns.table import NounTable, load_nouns
from teacher.settings import DecoySettings

NOUNS = sorted(noun for noun in load_nouns().may_be_asked if " " not in noun and noun.isalpha())
CAPTION_NOUNS = st.lists(
    st.sampled_from(
        [*NOUNS[::40], "dog", "man", "woman", "car", "tree", "bee", "cat", "bed", "boat", "people"]
    ),
    min_size=1,
    max_size=6,
)


def pool_of(nouns: list[str] = NOUNS[::10], seed: int = 0) -> DecoyPool:
    """Return every tenth noun, with counts over many powers of two."""
    counts = {noun: 2 ** (place % 12) for place, noun in enumerate(nouns)}
    return DecoyPool(seed=seed, counts=counts, asked=tuple(filter(is_probe_noun, sorted(nouns))))


POOL = pool_of()


def chooser(share: float = 1.0, per_image: int = 4, pool: DecoyPool = POOL) -> FrozenPoolChooser:
    return FrozenPoolChooser(DecoySettings(share=share, per_image=per_image), pool)


def sample_of(caption: str, *heads: str, image: int = 0) -> Sample:
    phrases = [
        Phrase(begin=caption.index(head), end=caption.index(head) + len(head), text=head, root=head)
        for head in heads
    ]
    digest = hashlib.sha256(str(image).encode()).hexdigest()
    return Sample(
        unit="u", shard="s", index=image, key="k", pixels=Pixels(url="f"), image_sha256=digest, caption=caption,
        width=9, height=9, phrases=tuple(phrases),
    )  # fmt: skip


def senses(noun: str, table: NounTable) -> set[int]:
    return set(table.meanings.get(noun, ()))


def above(noun: str, table: NounTable) -> set[int]:
    """Return all broader synsets and the noun's own, by another algorithm than the code's."""
    found = senses(noun, table)
    while more := {up for synset in found for up in table.above[synset]} - found:
        found |= more
    return found


@given(CAPTION_NOUNS, st.integers(0, 10**6), st.integers(1, 16))
def test_a_decoy_shares_no_lemma_synonym_or_broader_or_narrower_noun_with_the_caption(heads, image, most):
    table, caption = load_nouns(), "a " + " and a ".join(heads)

    found = chooser(per_image=most).choose(sample_of(caption, *heads, image=image))

    assert len(found) <= most and len({phrase.text for phrase in found}) == len(found)
    for phrase in found:
        assert (phrase.kind, phrase.begin, phrase.text) == ("decoy", None, phrase.root)
        assert is_probe_noun(phrase.root) and phrase.root in POOL.asked
        for head in heads:
            assert phrase.root != head and not senses(phrase.root, table) & senses(head, table)
            assert not senses(phrase.root, table) & above(head, table), "a broader noun"
            assert not senses(head, table) & above(phrase.root, table), "a narrower noun"


@given(CAPTION_NOUNS, st.integers(0, 1000))
def test_a_choice_depends_on_pool_image_and_caption_alone(heads, image):
    caption = "a " + " and a ".join(heads)
    asked, other = sample_of(caption, *heads, image=image), sample_of("a bee", "bee", image=image + 1)
    first, second = chooser(), chooser()
    second.choose(other)

    moved = asked.model_copy(update={"index": 7, "unit": "v", "key": "other"})
    assert first.choose(asked) == second.choose(moved)


def test_another_pool_or_image_gives_other_decoys():
    asked = [sample_of("a dog on a boat", "dog", "boat", image=image) for image in range(50)]

    chosen = {chooser().choose(sample) for sample in asked}

    assert len(chosen) > 40
    assert chooser(pool=pool_of(seed=1)).choose(asked[0]) != chooser().choose(asked[0])


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_the_share_of_images_is_what_was_asked_for(share):
    asked = chooser(share)
    taken = [bool(asked.choose(sample_of("a dog", "dog", image=image))) for image in range(2000)]

    assert abs(sum(taken) / 2000 - share) < 4 * (share * (1 - share) / 2000) ** 0.5 + 1e-9


def test_an_image_in_a_smaller_share_is_in_every_larger_one():
    shares = [
        {image for image in range(300) if chooser(share).choose(sample_of("a dog", "dog", image=image))}
        for share in (0.1, 0.3, 0.8)
    ]

    assert all(less <= more for less, more in pairwise(shares))


def test_a_decoy_is_as_frequent_as_the_noun_that_it_goes_with():
    counts = dict(POOL.counts) | {"dog": 2**7, "boat": 1}
    pool = DecoyPool(counts=counts, asked=POOL.asked)

    buckets = [
        [
            pool.bucket(phrase.root)
            for phrase in chooser(pool=pool).choose(sample_of("a dog by a boat", "dog", "boat", image=n))
        ]
        for n in range(40)
    ]

    assert all(found == [7, 0, 7, 0] for found in buckets)


def test_a_bucket_without_a_fitting_noun_gives_way_to_the_nearest():
    pool = DecoyPool(counts={"dog": 64, "bee": 64, "kite": 8, "drum": 1}, asked=("bee", "drum", "kite"))

    found = chooser(pool=pool, per_image=3).choose(sample_of("a dog and a bee", "dog"))

    assert [phrase.root for phrase in found] == ["kite", "drum"], (
        "the bee is in the caption, though no phrase"
    )


def test_a_sample_without_a_phrase_is_asked_for_no_decoy():
    assert chooser().choose(sample_of("nothing")) == ()


def test_all_words_of_a_caption_count_as_named_whatever_phrases_were_found():
    named = find_caption_nouns("Two fire-trucks, women and hot dogs", ["truck"])

    assert {"truck", "fire-trucks", "woman", "dog", "hot dog", "fire"} <= named


def test_words_about_people_rule_each_other_out():
    table = load_nouns()

    assert Relations(["crowd"], table).rule_out("golfer") and Relations(["woman"], table).rule_out("hat")
    assert not Relations(["woman"], table).rule_out("zebra")


@pytest.mark.parametrize(
    ("one", "other", "related"),
    [
        ("dog", "dog", True), ("car", "automobile", True), ("dog", "poodle", True), ("poodle", "dog", True),
        ("car", "truck", True), ("sofa", "couch", True), ("dog", "zebra", False), ("bear", "umbrella", False),
    ],
)  # fmt: skip
def test_relations_of_everyday_nouns(one, other, related):
    assert Relations([one], load_nouns()).rule_out(other) is related


@pytest.mark.parametrize(
    ("noun", "caption", "head"),
    [
        ("bees", "a bee", "bee"),
        ("toy bee", "a bee", "bee"),
        ("paper kite", "kites", "kite"),
        ("bees", "an insect", "insect"),
    ],
)
def test_a_plural_or_compound_that_a_list_gives_shares_no_head_with_the_caption(noun, caption, head):
    pool = DecoyPool(counts={noun: 1, "drum": 1}, asked=tuple(sorted({noun, "drum"})))
    asked = sample_of(caption, caption.split()[-1])
    asked = asked.model_copy(update={"phrases": (asked.phrases[0].model_copy(update={"root": head}),)})

    assert not load_nouns().has(noun)
    assert [phrase.root for phrase in chooser(pool=pool).choose(asked)] == ["drum"]


def test_a_list_asks_for_no_noun_whose_heads_lemma_training_may_teach_as_absent():
    assert [is_probe_noun(noun) for noun in ("boats", "boat", "kites", "kite")] == [True, False, True, True]

    assert pool_from_file(b"boats\nkites\n", 0, "pool.txt").asked == ("kites",)


def test_a_fixed_quarter_of_the_nouns_is_for_probing():
    share = sum(map(is_probe_noun, NOUNS)) / len(NOUNS)

    assert abs(share - 1 / ONE_IN) < 0.01
    assert is_probe_noun("Bee") == is_probe_noun("bee") is True and is_probe_noun("dog") is False, "for ever"


def test_a_pool_is_the_same_from_captions_in_any_order():
    found = [
        FoundPhrases((Phrase(begin=0, end=3, text="abc", root=root),))
        for root in ["bee", "dog", "bee", "qqq"]
    ]

    pool = pool_from_captions(found, 3, {"captions": 4})

    assert pool == pool_from_captions(found[::-1], 3, {"captions": 4})
    assert (pool.counts, pool.asked) == ({"bee": 2, "dog": 1}, ("bee",)), (
        "an unknown noun cannot be told apart"
    )
    assert parse_pool(pool.to_bytes(), pool.digest(), "x") == pool
    assert pool_from_file(pool.to_bytes(), 9, "x") == pool, "a pool in its written form brings its own seed"


def test_a_list_with_a_byte_order_mark_and_windows_lines_is_the_list_without():
    plain = pool_from_file(b"bee\ndog\t3\n", 0, "pool.txt")

    assert pool_from_file(b"\xef\xbb\xbfbee\r\ndog\t3\r\n", 0, "pool.txt") == plain


def test_a_field_that_a_written_pool_lacks_is_named():
    with pytest.raises(ConfigError, match=r"pool.txt: counts: Field required"):
        pool_from_file(b'{"a": 1}', 0, "pool.txt")


def test_a_pool_of_another_digest_is_refused():
    with pytest.raises(ConflictError, match="restore it"):
        parse_pool(POOL.to_bytes() + b" ", POOL.digest(), "x")


@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_pool_or_a_configuration_error(data):
    try:
        pool = pool_from_file(data, 0, "pool.txt")
    except ConfigError:
        return
    assert set(pool.asked) <= set(filter(is_probe_noun, pool.counts))
