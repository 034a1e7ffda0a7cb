"""The order of a run: a pure function that loses nothing, doubles nothing and keeps the shares."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from student.data.mixture import locate_slot
from student.data.order import WholeOrder, random_generator, slot_generator
from student.data.view_counts import draw_repeats

SHARES = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(
    lambda parts: [p / sum(parts) for p in parts]
)


@settings(max_examples=40, deadline=None)
@given(SHARES, st.integers(1, 300))
def test_every_stream_counts_its_slots_without_a_gap(shares: list[float], slots: int) -> None:
    seen: Counter[int] = Counter()
    for slot in range(slots):
        stream, ordinal = locate_slot(slot, shares)
        assert ordinal == seen[stream]
        seen[stream] += 1

    for stream, share in enumerate(shares):
        assert abs(seen[stream] - share * slots) <= len(shares)


@pytest.mark.parametrize("size", [1, 2, 7, 30])
def test_an_epoch_hands_out_each_example_once_in_a_new_order(size: int) -> None:
    order = WholeOrder(range(size), "sha256:ab")
    epochs = [[order.row(e * size + i, "0", 3) for i in range(size)] for e in range(3)]

    assert all(sorted(epoch) == list(range(size)) for epoch in epochs)
    assert size < 7 or epochs[0] != epochs[1]


def test_order_depends_on_seed_and_data_and_on_nothing_else() -> None:
    def rows(digest: str, seed: int, places) -> list[int]:
        order = WholeOrder(range(50), digest)
        return [order.row(place, "0", seed) for place in places]

    first = rows("sha256:ab", 0, range(50))
    assert first == rows("sha256:ab", 0, reversed(range(50)))[::-1]
    assert first != rows("sha256:ab", 1, range(50))
    assert first != rows("sha256:cd", 0, range(50))


def test_slots_uses_and_seeds_have_random_streams_of_their_own() -> None:
    keys = [(0, 12, "prompt"), (1, 12, "prompt"), (0, 21, "prompt"), (0, 12, "motion")]
    draws = {slot_generator(*key).random() for key in keys}

    assert len(draws) == len(keys)
    assert slot_generator(*keys[0]).random() in draws


def test_a_random_stream_is_numpys_philox_under_the_keys_digest() -> None:
    word = hashlib.sha256(b"prompt/3/17").digest()[:16]
    plain = np.random.Generator(np.random.Philox(key=np.frombuffer(word, dtype="<u8")))

    assert random_generator("prompt", 3, 17).random(9).tolist() == plain.random(9).tolist()


def test_rows_with_a_rare_noun_are_repeated_and_no_row_is_lost() -> None:
    rarest = np.array([100] * 99 + [1])

    assert draw_repeats(rarest, 100, threshold=0.09, digest="d").tolist() == [1] * 99 + [3]
    assert draw_repeats(rarest, 100, threshold=0.0, digest="d").tolist() == [1] * 100
