"""What padding does to GLIP's scores: each image in its own multiple of 32, and in larger buckets.

    python -m benchmarks.glip_padding --model DIR --images FOLDER --caption "cat. dog. person" --multiples 64,128,256

GLIP sees its padding (group norms, the text's look at the whole image, the flat read), so a bucket changes scores.
Padding lies right and below, so a location of the image is the same location in every bucket: scores are compared
place by place, where one of the two passes `--threshold`. Multiple 32 alone is what the authors do for a batch of one.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from schemas.spans import PROMPT_SEPARATOR
from teacher.models.glip import GlipForGrounding, GlipProcessor
from teacher.models.glip.detections import phrase_scores


def main(arguments: list[str] | None = None) -> None:
    """One line per multiple: median, 95th percentile and largest change of a score, share that changes sides."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--images", required=True, help="folder of .jpg and .png")
    parser.add_argument("--caption", required=True, help="detection prompt; names joined by '. '")
    parser.add_argument("--multiples", default="64,128,256")
    parser.add_argument("--threshold", type=float, default=0.05)
    parser.add_argument("--limit", type=int, default=20)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    processor = GlipProcessor.from_pretrained(options.model, local_files_only=True)
    model = GlipForGrounding.from_pretrained(options.model, local_files_only=True).eval()
    paths = sorted(path for path in Path(options.images).iterdir() if path.suffix in (".jpg", ".png"))
    multiples = [int(text) for text in options.multiples.split(",")]
    moved: dict[int, list[np.ndarray]] = {multiple: [] for multiple in multiples}
    for path in paths[: options.limit]:
        resized = processor.resize(Image.open(path))
        plain = scores(model, processor, resized, options.caption, 32)
        for multiple in multiples:
            other = scores(model, processor, resized, options.caption, multiple)
            heard = np.maximum(plain, other) > options.threshold
            moved[multiple].append(np.stack([plain[heard], other[heard]]))
    for multiple, parts in moved.items():
        print(_line(multiple, np.concatenate(parts, axis=1), options.threshold))


@torch.inference_mode()
def scores(
    model: GlipForGrounding, processor: GlipProcessor, resized: np.ndarray, caption: str, multiple: int
) -> np.ndarray:
    """[locations inside the image x phrases] final scores, flat; the same places whatever the padding."""
    height, width = (math.ceil(side / multiple) * multiple for side in resized.shape[:2])
    outputs = model(**processor.pixels([resized], (height, width)), **processor.tokens([caption]))
    spans, begin = [], 0
    for name in caption.split(PROMPT_SEPARATOR):
        spans.append([(begin, begin + len(name))])
        begin += len(name) + len(PROMPT_SEPARATOR)
    tokens = processor.phrase_tokens(caption, spans)
    classes = phrase_scores(outputs.token_logits[0], tokens)
    ranks = (classes * outputs.centerness_logits[0].sigmoid()[:, None]).sqrt()
    kept, start = [], 0
    for level, (rows, columns) in enumerate(outputs.level_shapes):
        stride = model.config.strides[level]
        inside = [math.ceil(side / stride) for side in resized.shape[:2]]
        grid = ranks[start : start + rows * columns].view(rows, columns, -1)
        kept.append(grid[: inside[0], : inside[1]].flatten().numpy())
        start += rows * columns
    return np.concatenate(kept)


def _line(multiple: int, pairs: np.ndarray, threshold: float) -> str:
    change = np.abs(pairs[0] - pairs[1])
    if not change.size:
        return f"multiple {multiple:4d}: no score above {threshold:g}"
    sides = ((pairs[0] > threshold) != (pairs[1] > threshold)).mean()
    low, high = np.percentile(change, [50, 95])
    return (
        f"multiple {multiple:4d}: {change.size} scores, change median {low:.4f}, 95 % {high:.4f}, largest "
        f"{change.max():.4f}; {100 * sides:.1f} % change sides of {threshold:g}"
    )


if __name__ == "__main__":
    main()
