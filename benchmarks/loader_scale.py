"""A view of ten million rows as a training stream: time and memory to open it, rows a second, how well it is shuffled.

    python -m benchmarks.loader_scale --rows 10000000

The view is one part of real size (2,048 rows of the tiny world's gold, captions made unlike) that its manifest names
again and again: its rows are read, checked and digested as those of any view, and it needs no 10 GB of disk.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import numpy as np

from engine.views import MANIFEST, ROWS_PER_PART, open_view, write_view
from pipelines.demo.world.build import build_world
from pipelines.demo.world.settings import WorldSettings
from schemas.rows import ViewRow
from student.data.streams import Stream, load_stream
from student.settings.streams import PromptMix, StreamSettings

UNIT_ROWS, BATCH = 512, 64


def main(arguments: list[str] | None = None) -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--window", type=int, default=StreamSettings(url="x", share=1).shuffle_window)
    parser.add_argument("--drawn", type=int, default=20_000, help="samples that are read")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(Path(folder), chosen.rows, chosen.window, chosen.drawn), indent=1))


def measure(folder: Path, rows: int, window: int, drawn: int) -> dict[str, Any]:
    """Return all figures for a view of so many rows (rounded up to whole parts)."""
    url = repeated_view(folder, -(-rows // ROWS_PER_PART))
    settings = StreamSettings(
        url=url,
        share=1,
        shuffle_window=window,
        prompts=PromptMix(detection=1, phrase_list=0, caption=0),
    )
    before = _peak_mb()
    first, stream = _time(lambda: load_stream(settings, folder / "cache"))
    again, stream = _time(lambda: load_stream(settings, folder / "cache"))
    opened = _peak_mb()
    order_s, places = _time(lambda: [stream.order.row(place, "0", 0) for place in range(drawn)])
    read_s, _ = _time(lambda: [stream.examples[row] for row in places])
    return {
        "rows": stream.images,
        "open_s_first_time": round(first, 1),
        "open_s_from_cache": round(again, 2),
        "peak_mb_before": before,
        "peak_mb_open": opened,
        "peak_mb_reading": _peak_mb(),
        "window_blocks": getattr(stream.order, "window", None),
        "order_us_a_sample": round(order_s / drawn * 1e6),
        "example_us_a_sample": round(read_s / drawn * 1e6),
        "pairs_of_one_block_in_a_batch": _pairs(np.array(places)),
        "the_same_shuffled_whole": _whole_pairs(stream, drawn),
    }


def repeated_view(folder: Path, parts: int) -> str:
    """Write a view of `parts` parts that are one file."""
    world, _ = build_world(
        folder / "world", WorldSettings(seed=1, gold_images=64, web_images=0, test_images=4)
    )
    gold = list(open_view(world.gold_view).rows())
    rows = [
        {
            **gold[number % len(gold)],
            "unit": f"u{number // UNIT_ROWS:04d}",
            "index": number % UNIT_ROWS,
            "image_sha256": f"{number:064x}",
        }
        for number in range(ROWS_PER_PART)
    ]
    manifest = write_view(str(folder / "view"), cast("list[ViewRow]", rows), kind="view", provenance={})
    many = manifest.model_copy(
        update={"parts": manifest.parts * parts, "rows": manifest.rows * parts, "digest": f"sha256:{parts}"}
    )
    (folder / "view" / MANIFEST).write_text(many.model_dump_json())
    return str(folder / "view")


def _time(call: Any) -> tuple[float, Any]:
    began = time.perf_counter()
    value = call()
    return time.perf_counter() - began, value


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _pairs(rows: np.ndarray) -> float:
    """Of all pairs of samples in a batch of 64, the share that lies in one block of 512 rows of the view."""
    batches = (rows[: len(rows) // BATCH * BATCH] // UNIT_ROWS).reshape(-1, BATCH)
    same = (batches[:, :, None] == batches[:, None, :]).sum(axis=(1, 2)) - BATCH
    return float(np.round(same.mean() / (BATCH * (BATCH - 1)), 6))


def _whole_pairs(stream: Stream, drawn: int) -> float:
    return _pairs(np.random.default_rng(0).integers(stream.images, size=drawn))


if __name__ == "__main__":
    main()
