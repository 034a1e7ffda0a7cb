"""Fixtures of the gold importers: write a small file, import it, look at rows and counts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engine.views import open_view
from pipelines.exchange.gold.images import open_images
from pipelines.exchange.gold.import_report import GoldReport
from pipelines.exchange.gold.options import ImportOptions
from pipelines.exchange.import_gold import import_gold

Imported = tuple[GoldReport, list[dict[str, Any]]]


@pytest.fixture
def picture(tmp_path: Path) -> Callable[..., Path]:
    """Write a JPEG under `images/`."""

    def write(name: str = "one.jpg", width: int = 64, height: int = 48, orientation: int = 1) -> Path:
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(np.zeros((height, width, 3), dtype=np.uint8)).save(path, "JPEG", exif=exif)
        return path

    return write


@pytest.fixture
def imported(tmp_path: Path) -> Callable[..., Imported]:
    """Import a JSON value, text, or a path. Images come from `images/` if there is such a folder."""

    def run(format: str, content: Any, **options: Any) -> Imported:
        path = content if isinstance(content, Path) else tmp_path / "gold-file"
        if not isinstance(content, Path):
            path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        folder = tmp_path / "images"
        options.setdefault("images", open_images(str(folder)) if folder.is_dir() else None)
        number = len(list(tmp_path.glob("gold-[0-9]*")))
        to = str(tmp_path / f"gold-{number}")
        report = import_gold(format, path, to, ImportOptions(**options))
        view = open_view(to)
        view.check()
        return report, list(view.rows())

    return run


def lines(*records: Any) -> str:
    """Return records as JSON lines."""
    return "".join(json.dumps(record) + "\n" for record in records)


@pytest.fixture
def as_lines() -> Callable[..., str]:
    return lines


@pytest.fixture
def fates() -> Callable[[dict[str, Any]], dict[str, str]]:
    """Phrase text to fate of a row."""
    return lambda row: {row["caption"][p["begin"] : p["end"]]: p["fate"] for p in row["phrases"]}


@pytest.fixture
def box_of() -> Callable[[dict[str, Any]], tuple[float, ...]]:
    return lambda region: tuple(region[side] for side in ("x0", "y0", "x1", "y1"))
