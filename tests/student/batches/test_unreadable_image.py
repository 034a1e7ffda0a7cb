"""An image that cannot be decoded stops a training with what to do."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from engine.reading.range_reader import RangeReader
from schemas.digests import sha256_hex
from schemas.errors import GroundswellError
from student.batches.batch_builder import _load_image
from student.data.examples import TrainingExample
from student.data.streams import Stream

DATA = b"no image"


def test_an_image_that_does_not_decode_is_reported_with_what_to_do() -> None:
    reader = cast(RangeReader, SimpleNamespace(read=lambda pixels: DATA))
    stream = cast(Stream, SimpleNamespace(settings=SimpleNamespace(url="gold")))
    example = cast(TrainingExample, SimpleNamespace(name="one", pixels={}, image_sha256=sha256_hex(DATA)))

    with pytest.raises(
        GroundswellError, match="one of gold cannot be read: .*; label or import its shard again"
    ):
        _load_image(reader, stream, example)
