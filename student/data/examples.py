"""From a row of a view or gold to an example: the form that training reads."""

# G distinct boxes of an image
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.digests import digest_of
from student.settings.prompt_text import SEPARATOR


@dataclass(frozen=True)
class ExamplePhrase:
    """A span of the caption, its head noun and the indices of its boxes; `ignored` ones teach nothing."""

    begin: int
    end: int
    text: str
    root: str
    fate: str
    boxes: tuple[int, ...]
    ignored: tuple[int, ...] = ()


def boxes_of(phrases: Sequence[ExamplePhrase]) -> tuple[tuple[int, ...], tuple[int, ...], bool]:
    """Of all the phrases: boxes, ignored boxes that are not among them, and whether some phrase has no kept box."""
    if len(phrases) == 1:  # the common case
        boxes, ignored = set(phrases[0].boxes), set(phrases[0].ignored)
    else:
        boxes = {box for phrase in phrases for box in phrase.boxes}
        ignored = {box for phrase in phrases for box in phrase.ignored}
    unresolved = "unresolved" in [phrase.fate for phrase in phrases]
    return tuple(sorted(boxes)), tuple(sorted(ignored - boxes)), unresolved


@dataclass(frozen=True)
class Example:
    """One image with its caption. Equal boxes of several phrases are one box."""

    name: str
    pixels: Mapping[str, Any]
    image_sha256: str
    caption: str
    phrases: tuple[ExamplePhrase, ...]
    boxes_xyxy_px_G4: NDArray[np.float32]
    box_weight_G: NDArray[np.float32]
    token_weight_G: NDArray[np.float32]
    maybe_there: tuple[str, ...] = ()
    """Nouns beside the caption's that the teacher found, or left open, in the image."""
    listed_absent: tuple[ExamplePhrase, ...] = ()
    """Phrases of the caption that `without_listed_absence` took away."""

    @property
    def roots(self) -> list[str]:
        """The head nouns of the caption, each once, in order."""
        return list(dict.fromkeys(phrase.root for phrase in self.phrases))

    @property
    def phrases_by_root(self) -> dict[str, list[ExamplePhrase]]:
        """The phrases of each head noun, in order."""
        found: dict[str, list[ExamplePhrase]] = {}
        for phrase in self.phrases:
            found.setdefault(phrase.root, []).append(phrase)
        return found

    @property
    def shown_roots(self) -> list[str]:
        """Those that have a box: a noun that is said to be absent makes no image rare."""
        return list(dict.fromkeys(phrase.root for phrase in self.phrases if phrase.boxes))


def without_listed_absence(example: Example) -> Example:
    """A detection row of exhaustive gold lists every category: which absent ones are asked for is drawn for each step.

    (All of them, shuffled and cut at the token limit, could crowd out what is there.)
    """
    if example.caption != SEPARATOR.join(phrase.text for phrase in example.phrases):
        return example
    return replace(
        example,
        phrases=tuple(phrase for phrase in example.phrases if phrase.fate != "absent"),
        listed_absent=tuple(phrase for phrase in example.phrases if phrase.fate == "absent"),
    )


def example_of(row: dict[str, Any], stream_weight: float = 1.0) -> Example:
    """One row of a view or gold, as an example. Decoys have no place in a caption: those found are `maybe_there`."""
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
        weights[number] = tuple(map(max, weights[number], _weights(region, stream_weight)))  # type: ignore[assignment]
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
        if p["kind"] != "decoy"
    )
    return Example(
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


def _weights(region: dict[str, Any], stream_weight: float) -> tuple[float, float]:
    """(box and centerness, tokens): a `class_only` region says what is there but not exactly where."""
    weight = region["weight"] * stream_weight
    return (0.0 if region["fate"] == "class_only" else weight, weight)


def row_digest(row: Mapping[str, Any]) -> str:
    """Over what is learned from a row, not over where its pixels lie."""
    return digest_of({name: row[name] for name in ("image_sha256", "caption", "phrases", "regions")})
