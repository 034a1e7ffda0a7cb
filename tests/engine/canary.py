"""An Arrow extension type that reports when it is constructed from a file, as a type that unpickles would run code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

NAME = "tests.canary"


class Canary(pa.ExtensionType):
    """Sings when it is constructed from a file."""

    fired: list[str] = []

    def __init__(self) -> None:
        super().__init__(pa.binary(), NAME)

    def __arrow_ext_serialize__(self) -> bytes:
        return b"payload"

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> Canary:
        cls.fired.append(serialized.decode())
        return cls()


@contextmanager
def canary() -> Iterator[tuple[pa.Array, list[str]]]:
    """Yield a column of this type with one row, and the songs heard so far; the type is registered inside the block."""
    Canary.fired = []
    pa.register_extension_type(Canary())
    try:
        yield pa.ExtensionArray.from_storage(Canary(), pa.array([b"x"], pa.binary())), Canary.fired
    finally:
        pa.unregister_extension_type(NAME)
