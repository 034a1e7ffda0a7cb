"""Changes to bytes for fuzzing: they depend on the seed alone, so every finding can be repeated."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

Mutator = Callable[[bytearray, random.Random], None]
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF)
WIDE = (0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)


def mutated(seeds: Sequence[bytes], seed: int) -> bytes:
    """Return one of the seeds, changed in one to six places, perhaps joined with another."""
    rng = random.Random(seed)
    data = bytearray(rng.choice(seeds))
    if rng.random() < 0.1:
        other = rng.choice(seeds)
        data[rng.randrange(len(data) + 1) :] = other[rng.randrange(len(other) + 1) :]
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        rng.choice(MUTATORS)(data, rng)
    return bytes(data)


def _place(data: bytearray, rng: random.Random) -> int:
    """Draw a place, often in the head or tail, where formats keep their numbers."""
    choice = rng.random()
    if choice < 0.3:
        return rng.randrange(min(len(data), 64) + 1)
    if choice < 0.5:
        return len(data) - rng.randrange(min(len(data), 64) + 1)
    return rng.randrange(len(data) + 1)


def _flip(data: bytearray, rng: random.Random) -> None:
    if data:
        data[min(_place(data, rng), len(data) - 1)] ^= 1 << rng.randrange(8)


def _set(data: bytearray, rng: random.Random) -> None:
    if data:
        data[min(_place(data, rng), len(data) - 1)] = rng.choice(INTERESTING)


def _number(data: bytearray, rng: random.Random) -> None:
    size, order = rng.choice((2, 4, 8)), rng.choice(("little", "big"))
    at = _place(data, rng)
    data[at : at + size] = (rng.choice(WIDE) % 256**size).to_bytes(size, order)


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[_place(data, rng) :]


def _remove(data: bytearray, rng: random.Random) -> None:
    at = _place(data, rng)
    del data[at : at + rng.choice((1, 2, 16, 512))]


def _repeat(data: bytearray, rng: random.Random) -> None:
    at, size = _place(data, rng), rng.choice((1, 8, 64, 512))
    data[at:at] = data[at : at + size] * rng.choice((1, 2, 20))


def _insert(data: bytearray, rng: random.Random) -> None:
    at = _place(data, rng)
    data[at:at] = rng.randbytes(rng.choice((1, 2, 16, 512)))


def _digits(data: bytearray, rng: random.Random) -> None:
    """Change digits, as text formats keep numbers."""
    at = _place(data, rng)
    data[at : at + 2] = rng.choice(
        (b"-1", b"99999999999999999999", b"1e999", b"00", b"\xff\xfe", b'"', b"\\", b"{")
    )


def _move(data: bytearray, rng: random.Random) -> None:
    start, size = _place(data, rng), rng.choice((4, 32, 512))
    part = bytes(data[start : start + size])
    del data[start : start + size]
    at = _place(data, rng)
    data[at:at] = part


MUTATORS: tuple[Mutator, ...] = (_flip, _set, _number, _cut, _remove, _repeat, _insert, _digits, _move)
