"""Examples: rows of a view or gold in the form that training reads, and what a stream knows of all its rows.

Its promise: a stream's digest is over what is learned (image digest, caption, phrases, boxes, weights) and not over
where the pixels lie, so moving a data set changes no training run.
"""

# G distinct boxes of an image
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.views import View, open_view
from schemas.digests import digest_of, digest_of_many
from schemas.errors import ConfigError
from schemas.probe_nouns import is_probe_noun
from student.order import generator
from student.settings import ProbeNouns, StreamSettings


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

    @property
    def roots(self) -> list[str]:
        """The head nouns of the caption, each once, in order."""
        return list(dict.fromkeys(phrase.root for phrase in self.phrases))

    @property
    def shown_roots(self) -> list[str]:
        """Those that have a box: a noun that is said to be absent makes no image rare."""
        return list(dict.fromkeys(phrase.root for phrase in self.phrases if phrase.boxes))


@dataclass(frozen=True)
class Stream:
    """All examples of one data set, its order's entries, its nouns, its images by licence ("": not stated)."""

    settings: StreamSettings
    digest: str
    view_digest: str
    exhaustive: bool
    examples: tuple[Example, ...]
    entries: tuple[int, ...]
    root_counts: Mapping[str, int]
    licenses: Mapping[str, int]
    kind: str = "view"
    has_decoys: bool = False
    probe_nouns_excluded: bool = False


def load_stream(settings: StreamSettings) -> Stream:
    """Read a view or gold. Raises ConfigError for one without a usable row, or a prompt mix that it cannot serve."""
    view = open_view(settings.url)
    exhaustive = _is_exhaustive(view, settings)
    federated = bool(view.manifest.provenance.get("facts", {}).get("federated"))
    rows = [row for row in view.rows() if exhaustive or federated or _teaches(row)]
    if not rows:
        raise ConfigError(f"{settings.url} holds no row to train on: compile it under a less strict policy")
    examples = [example_of(row, settings.weight) for row in rows]
    counts = Counter(root for example in examples for root in example.roots)
    if exhaustive:
        examples = list(map(_without_listed_absence, examples))
        counts = _at_least_once(counts) | Counter(root for example in examples for root in example.roots)
    elif federated:
        counts = Counter()  # a row's own negatives are in its phrases; of other nouns nothing is known
    digest = digest_of_many(map(_row_digest, rows))
    return Stream(
        settings,
        digest,
        view.manifest.digest,
        exhaustive,
        tuple(examples),
        repeat_entries([example.shown_roots for example in examples], settings.repeat_threshold, digest),
        counts,
        Counter(row["license"] or "" for row in rows),
        view.manifest.kind,
        any(phrase["kind"] == "decoy" for row in rows for phrase in row["phrases"]),
    )


def _teaches(row: dict[str, Any]) -> bool:
    """Whether something is boxed: regions to ignore say only where not to learn."""
    return any(region["fate"] != "ignore" for region in row["regions"])


def without_probe_nouns(streams: Sequence[Stream], when: ProbeNouns) -> list[Stream]:
    """The streams, and none of them teaches a drawn probe noun as absent where the run's setting says so.

    One stream with decoys is enough: what another teaches as absent, the student rejects everywhere.
    """
    if when == "asked" or (when == "auto" and not any(stream.has_decoys for stream in streams)):
        return list(streams)
    kept = [{n: c for n, c in stream.root_counts.items() if not is_probe_noun(n)} for stream in streams]
    return [
        replace(stream, root_counts=counts, probe_nouns_excluded=True)
        for stream, counts in zip(streams, kept)
    ]


def _is_exhaustive(view: View, settings: StreamSettings) -> bool:
    """Whether what a row does not name is known not to be in its image. Raises ConfigError, as `load_stream`."""
    known, is_gold = view.manifest.provenance, view.manifest.kind == "gold"
    if known.get("without_images"):
        raise ConfigError(f"{settings.url} was imported without images: import it again with --images")
    exhaustive = is_gold and bool(known.get("exhaustive", True))
    if settings.prompts.phrase_list and not exhaustive:
        what = "gold that does not box everything" if is_gold else "a view, not gold"
        raise ConfigError(
            f"{settings.url} is {what}: what it does not name may still be there, so its phrase_list share "
            f"must be 0, not {settings.prompts.phrase_list:g}"
        )
    return exhaustive


def _at_least_once(counts: Counter[str]) -> Counter[str]:
    return Counter(dict.fromkeys(counts, 1))


def _without_listed_absence(example: Example) -> Example:
    """A detection row of exhaustive gold lists every category: which absent ones are asked for is drawn for each step.

    (All of them, shuffled and cut at the token limit, could crowd out what is there.)
    """
    if example.caption != ". ".join(phrase.text for phrase in example.phrases):
        return example
    return replace(example, phrases=tuple(phrase for phrase in example.phrases if phrase.fate != "absent"))


def example_of(row: dict[str, Any], stream_weight: float = 1.0) -> Example:
    """One row of a view or gold, as an example. Decoys have no place in a caption and are left out."""
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
    )


def _weights(region: dict[str, Any], stream_weight: float) -> tuple[float, float]:
    """(box and centerness, tokens): a `class_only` region says what is there but not exactly where."""
    weight = region["weight"] * stream_weight
    return (0.0 if region["fate"] == "class_only" else weight, weight)


def repeat_entries(roots: list[list[str]], threshold: float, digest: str) -> tuple[int, ...]:
    """Indices of all rows, each at least once and rows with a rare noun more often.

    A row is repeated max(1, sqrt(threshold / f)) times, f being the share of rows that hold its rarest noun; a
    fraction becomes one more repeat with that probability (repeat-factor sampling, LVIS, arXiv 1908.03195).
    """
    counts = Counter(root for row in roots for root in row)
    rng = generator("repeats", digest)
    entries: list[int] = []
    for index, row in enumerate(roots):
        rarest = min((counts[root] for root in row), default=len(roots)) / len(roots)
        factor = max(1.0, (threshold / rarest) ** 0.5)
        entries += [index] * (int(factor) + (rng.random() < factor % 1))
    return tuple(entries)


def _row_digest(row: dict[str, Any]) -> str:
    return digest_of({name: row[name] for name in ("image_sha256", "caption", "phrases", "regions")})


def data_digest(streams: Iterable[Stream]) -> str:
    """One digest over all streams in order."""
    return digest_of_many(stream.digest for stream in streams)
