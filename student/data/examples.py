"""Make a training example from a row of a view or gold."""

# G distinct boxes of an image
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.digests import digest_of
from schemas.records import PhraseFate
from schemas.rows import PixelsRow, ViewRegionRow, ViewRow
from schemas.spans import is_detection_caption


@dataclass(frozen=True)
class ExamplePhrase:
    """A span of the caption, its head noun and the indices of its boxes. Boxes in `ignored` teach nothing."""

    begin: int
    end: int
    text: str
    root: str
    fate: PhraseFate
    boxes: tuple[int, ...]
    ignored: tuple[int, ...] = ()


class PhraseBoxes(NamedTuple):
    """Box indices of one or more phrases. An ignored box is not in `boxes`."""

    boxes: tuple[int, ...]
    ignored: tuple[int, ...]
    is_unresolved: bool
    """Whether the boxes of some phrase are unknown."""


def merge_boxes(phrases: Sequence[ExamplePhrase]) -> PhraseBoxes:
    """Return the boxes of all the phrases together."""
    if len(phrases) == 1:  # the common case
        boxes, ignored = set(phrases[0].boxes), set(phrases[0].ignored)
    else:
        boxes = {box for phrase in phrases for box in phrase.boxes}
        ignored = {box for phrase in phrases for box in phrase.ignored}
    is_unresolved = "unresolved" in [phrase.fate for phrase in phrases]
    return PhraseBoxes(tuple(sorted(boxes)), tuple(sorted(ignored - boxes)), is_unresolved)


@dataclass(frozen=True)
class TrainingExample:
    """One image with its caption. Equal boxes of several phrases are one box."""

    name: str
    pixels: PixelsRow
    image_sha256: str
    caption: str
    phrases: tuple[ExamplePhrase, ...]
    boxes_xyxy_px_G4: NDArray[np.float32]
    box_weight_G: NDArray[np.float32]
    token_weight_G: NDArray[np.float32]
    maybe_there: tuple[str, ...] = ()
    """Nouns outside the caption that the teacher found, or left open, in the image."""
    listed_absent: tuple[ExamplePhrase, ...] = ()
    """Phrases of the caption that `remove_listed_absence` removed."""

    @property
    def roots(self) -> list[str]:
        """The head nouns of the caption, each once, in order."""
        return list(dict.fromkeys(phrase.root for phrase in self.phrases))

    @property
    def phrases_by_root(self) -> dict[str, list[ExamplePhrase]]:
        """The phrases of each head noun, in order."""
        by_root: dict[str, list[ExamplePhrase]] = {}
        for phrase in self.phrases:
            by_root.setdefault(phrase.root, []).append(phrase)
        return by_root


def remove_listed_absence(example: TrainingExample) -> TrainingExample:
    """Move the absent phrases of a detection row to `listed_absent`; return any other row unchanged.

    A detection row of exhaustive gold lists every category. Training draws anew in each step which absent ones are in
    the prompt. If all of them were shuffled and cut at the token limit, they could crowd out the present ones.
    """
    if not is_detection_caption(example.caption, (phrase.text for phrase in example.phrases)):
        return example
    return replace(
        example,
        phrases=tuple(phrase for phrase in example.phrases if phrase.fate != "absent"),
        listed_absent=tuple(phrase for phrase in example.phrases if phrase.fate == "absent"),
    )


def make_example(row: ViewRow, stream_weight: float = 1.0) -> TrainingExample:
    """Return a row of a view or gold as an example.

    Decoys have no place in a caption. Those that the teacher found, or left open, are in `maybe_there`.
    """
    boxes: dict[tuple[float, ...], int] = {}
    weights: list[tuple[float, float]] = []
    owned: dict[int, list[int]] = {}
    ignored: dict[int, list[int]] = {}
    for region in row["regions"]:
        box = (region["x0"], region["y0"], region["x1"], region["y1"])
        number = boxes.setdefault(box, len(boxes))
        if number == len(weights):
            weights.append((0.0, 0.0))
        if region["fate"] == "ignore":
            ignored.setdefault(region["phrase"], []).append(number)
            continue
        owned.setdefault(region["phrase"], []).append(number)
        (box_weight, token_weight), own = weights[number], _weights(region, stream_weight)
        weights[number] = max(box_weight, own[0]), max(token_weight, own[1])
    phrases = tuple(
        ExamplePhrase(
            p["begin"],
            p["end"],
            p["text"],
            p["root"],
            p["fate"],
            tuple(owned.get(i, ())),
            tuple(ignored.get(i, ())),
        )
        for i, p in enumerate(row["phrases"])
        if p["kind"] != "decoy" and p["begin"] is not None and p["end"] is not None
    )
    return TrainingExample(
        name=f"{row['unit']}/{row['key']}",
        pixels=row["pixels"],
        image_sha256=row["image_sha256"],
        caption=row["caption"],
        phrases=phrases,
        boxes_xyxy_px_G4=np.array(list(boxes), dtype=np.float32).reshape(-1, 4),
        box_weight_G=np.array([box for box, _ in weights], dtype=np.float32),
        token_weight_G=np.array([token for _, token in weights], dtype=np.float32),
        maybe_there=tuple(
            p["root"] for p in row["phrases"] if p["kind"] == "decoy" and p["fate"] != "absent"
        ),
    )


def _weights(region: ViewRegionRow, stream_weight: float) -> tuple[float, float]:
    """Return (weight of box and centerness, weight of tokens).

    A `class_only` region says what is in the image, but not exactly where.
    """
    weight = region["weight"] * stream_weight
    return (0.0 if region["fate"] == "class_only" else weight, weight)


def row_digest(row: Mapping[str, object]) -> str:
    """Return the digest of what training learns from a row. The location of the pixels is not part of it."""
    return digest_of({name: row[name] for name in ("image_sha256", "caption", "phrases", "regions")})
