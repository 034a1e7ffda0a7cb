"""Names of files and categories, as strangers write them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.errors import ConfigError


def coco(category: str, *file_names: str) -> dict:
    """Make a file with a dog in one.jpg, and images without annotations."""
    names = ["one.jpg", *file_names]
    return {
        "images": [{"id": n, "file_name": name, "width": 64, "height": 48} for n, name in enumerate(names)],
        "annotations": [{"id": 1, "image_id": 0, "category_id": 3, "bbox": [0, 0, 5, 5]}],
        "categories": [{"id": 3, "name": category}],
    }


def test_a_name_that_no_file_can_have_refuses_its_image_alone(imported: Callable, picture: Callable) -> None:
    folder: Path = picture("one.jpg").parent
    (folder / "loop.jpg").symlink_to("loop.jpg")

    report, rows = imported("coco", coco("dog", "loop.jpg", "x" * 5000 + ".jpg"))

    assert len(rows) == 1 and report.records["images"]["codes"] == {"image_missing": 2}


@pytest.mark.parametrize("name", ["_", "()", "...", " ", "\u200b", "a\0b", "\u202edog", "\u0301"])
def test_a_category_whose_name_cannot_be_read_is_refused(imported: Callable, name: str) -> None:
    with pytest.raises(ConfigError, match="has no id and name of its own"):
        imported("coco", coco(name))


READABLE = ["狗", "🐕", "DOG", "dog_(animal)", "(dog)", "4x4", "rock & roll"]
JOINED = ["\u0939\u093f\u0930\u0923", "\u0645\u06cc\u200c\u0632", "👨\u200d👩\u200d👧"]


@pytest.mark.parametrize("name", READABLE + JOINED)
def test_a_category_may_be_called_anything_that_can_be_read(imported: Callable, name: str) -> None:
    assert imported("coco", coco(name))[0].regions == 1
