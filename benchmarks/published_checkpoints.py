"""Compare our boxes with those that transformers documents for published checkpoints. Needs a network; not in CI.

    python -m benchmarks.published_checkpoints [--only owlv2] [--glip glip_tiny_model_o365_goldg_cc_sbu.pth]

`published_checkpoints.json` has the expected boxes with their source. Each checkpoint is downloaded at the newest
commit of its repository, which is printed, so that a job can name it. Exit 1 if a box is missing or
differs, or if a model could not be loaded; the others are compared all the same.
With --glip, the authors' own file is converted (every weight must find its place) and asked for the same image. Its
boxes are printed, not judged, because nobody publishes expected ones.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from schemas.errors import GroundswellError
from schemas.records import Phrase, Pixels, Region, Sample
from schemas.spans import PROMPT_SEPARATOR
from teacher.factories import make_labeler
from teacher.models.glip.checkpoint.convert import convert

EXPECTED = Path(__file__).with_suffix(".json")
MIN_SCORE = 0.1


@dataclass(frozen=True)
class Difference:
    """How far the nearest of our boxes is from a documented one."""

    phrase: str
    score: float
    pixels: float

    def is_within(self, tolerance: dict[str, float]) -> bool:
        """Return whether score and box agree."""
        return abs(self.score) <= tolerance["score"] and self.pixels <= tolerance["pixels"]


def main(arguments: list[str] | None = None) -> int:
    """Print one line per documented box. Return 1 if any differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", help="kind to check")
    parser.add_argument(
        "--expected", type=Path, default=EXPECTED, help="JSON with other checkpoints and boxes"
    )
    parser.add_argument("--glip", type=Path, help="official GLIP checkpoint (.pth)")
    chosen = parser.parse_args(arguments)
    expected = json.loads(chosen.expected.read_text())
    with urllib.request.urlopen(expected["image"], timeout=60) as answer:
        image = np.asarray(Image.open(BytesIO(answer.read())).convert("RGB"))
    wrong, skipped = 0, []
    for one in expected["checkpoints"]:
        if chosen.only in (None, one["kind"]):
            model = pin_commit(one["model"])
            print(f"{one['kind']}: {model}")
            try:
                differences = compare_boxes(one["kind"], model, image, one["phrases"], one["boxes"])
            except GroundswellError as error:  # e.g. a backbone of a library that is not installed
                print(f"  NOT COMPARED: {error}")
                skipped.append(model)
                continue
            for found in differences:
                agrees = found.is_within(expected["tolerance"])
                wrong += not agrees
                verdict = "ok" if agrees else "DIFFERS"
                print(f"  {verdict} {found.phrase}: score {found.score:+.3f}, {found.pixels:.1f} px")
    if chosen.glip is not None:
        show_glip(chosen.glip, image)
    if skipped:
        print(
            f"{len(skipped)} of {len(expected['checkpoints'])} models were not compared: {', '.join(skipped)}"
        )
    return 1 if wrong or skipped else 0


def show_glip(checkpoint: Path, image: np.ndarray) -> None:
    """Convert an official GLIP checkpoint and print its best boxes. Raises ConfigError for weights without a place."""
    phrases = ("a cat", "a remote control")
    with tempfile.TemporaryDirectory() as folder:
        convert(checkpoint, Path(folder) / "glip", None, None, False, None)
        labeler = make_labeler({"kind": "glip", "model": f"{folder}/glip"}, 1, MIN_SCORE)
        (regions,) = labeler.label([labeler.prepare(make_sample(image, phrases), image)])
    for region in sorted(regions, key=lambda region: -region.score)[:5]:
        box = [round(side, 1) for side in (region.x0, region.y0, region.x1, region.y1)]
        print(f"  glip {phrases[region.phrase]}: {region.score:.3f} {box}")


def pin_commit(name: str) -> str:
    """Return a hub id with the newest commit of its repository, and a local path unchanged."""
    if Path(name).exists():
        return name
    from huggingface_hub import HfApi

    return f"{name}@{HfApi().model_info(name).sha}"


def compare_boxes(
    kind: str,
    model: str,
    image: np.ndarray,
    phrases: Sequence[str],
    documented: Sequence[tuple[str, float, list[float]]],
) -> list[Difference]:
    """Return for each documented box the difference to our nearest box of its phrase."""
    labeler = make_labeler({"kind": kind, "model": model}, 1, MIN_SCORE)
    (regions,) = labeler.label([labeler.prepare(make_sample(image, phrases), image)])
    return [_find_nearest(text, score, box, regions, phrases) for text, score, box in documented]


def _find_nearest(
    text: str, score: float, box: list[float], regions: Sequence[Region], phrases: Sequence[str]
) -> Difference:
    own = [region for region in regions if phrases[region.phrase] == text]
    if not own:
        return Difference(text, float("inf"), float("inf"))
    distances = [max(abs(a - b) for a, b in zip((r.x0, r.y0, r.x1, r.y1), box, strict=True)) for r in own]
    nearest = int(np.argmin(distances))
    return Difference(text, own[nearest].score - score, distances[nearest])


def make_sample(image: np.ndarray, phrases: Sequence[str]) -> Sample:
    """Return a sample whose caption lists the phrases."""
    caption, spans = "", []
    for text in phrases:
        caption += PROMPT_SEPARATOR * bool(caption)
        spans.append(
            Phrase(begin=len(caption), end=len(caption) + len(text), text=text, root=text.split()[-1])
        )
        caption += text
    height, width = image.shape[:2]
    return Sample(
        unit="check", shard="check", index=0, key="39769", pixels=Pixels(url="39769"), image_sha256="",
        caption=caption, width=width, height=height, phrases=tuple(spans),
    )  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
