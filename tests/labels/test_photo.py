"""Images of labels that cannot be shown are reported with what to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.labels.photo import PhotoRow, read_photo
from schemas.errors import ConflictError


def photo_row(path: Path, width: int = 80, height: int = 60) -> PhotoRow:
    pixels = {
        "url": str(path),
        "offset": None,
        "length": None,
        "row_group": None,
        "row": None,
        "column": None,
    }
    return {"key": "one", "pixels": pixels, "image_sha256": "", "width": width, "height": height}


def test_an_image_that_does_not_decode_is_reported_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "one.jpg").write_bytes(b"no image")

    with pytest.raises(
        ConflictError, match="one: .* cannot be decoded: .*; restore the old file, or label it again"
    ):
        read_photo(photo_row(tmp_path / "one.jpg"))


def test_an_image_of_another_size_is_reported_with_what_to_do(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((60, 80, 3), np.uint8)).save(tmp_path / "one.png")

    assert read_photo(photo_row(tmp_path / "one.png")).shape == (60, 80, 3)
    with pytest.raises(
        ConflictError, match="in a frame of 90 x 60 px; restore the old file, or label it again"
    ):
        read_photo(photo_row(tmp_path / "one.png", width=90))
