"""The fuzzed readers, each with seeds and a check that raises if the reader breaks its promise.

A reader may refuse with its own error and a code. Anything else that it raises or loses is a finding.
`python -m tests.suites.fuzz.targets NAME COUNT [FIRST]` runs seeds FIRST.. and prints each finding with its seed.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from engine.reading.captions import MAX_CHARS, decode_caption
from engine.reading.formats.tar import read_members
from engine.reading.images import MAX_PIXELS, decode_image
from engine.reading.shard_urls import expand_braces
from engine.reading.shards import open_shard
from engine.reading.strict_json import load_object
from engine.redaction import redact
from engine.settings import InputSettings
from engine.storage.filesystems import PROTOCOLS, absolute_url, check_shard_url
from schemas.codes import SAMPLE_CODES, SHARD_CODES
from schemas.errors import ConfigError, SampleRejectedError, ShardDamagedError
from tests.engine.worlds import picture, sample_members, tar_bytes
from tests.suites.fuzz.mutators import mutated

CORPUS = Path(__file__).with_name("corpus")


@dataclass(frozen=True)
class Target:
    """Seeds, and a check of one input that returns whether it was accepted."""

    seeds: Callable[[], list[bytes]]
    check: Callable[[bytes], bool]


def check_tar(data: bytes) -> bool:
    return _check_shard(data, "webdataset", ".tar")


def check_parquet(data: bytes) -> bool:
    return _check_shard(data, "parquet", ".parquet")


def _check_shard(data: bytes, kind: str, suffix: str) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"a{suffix}")
        path.write_bytes(data)
        reading = InputSettings(format=kind, urls=("x",), image=("png", "jpg"), keep=("tag",)).reading()
        try:
            shard = open_shard(path, str(path), reading)
            raws = list(shard.samples(0, len(shard)))
            wanted = [raw for raw in raws if raw.rejected is None]
            images = list(shard.images(wanted))
        except ShardDamagedError as damage:
            assert damage.code in SHARD_CODES, damage.code
            return False
        assert [raw.index for raw in raws] == list(range(len(shard))), "a sample was lost"
        assert len(images) == len(wanted), "an image was lost"
        assert all(raw.rejected is None or raw.rejected.code in SAMPLE_CODES for raw in raws)
        if kind == "webdataset":
            _check_members(path, data)
        return True


def _check_members(path: Path, data: bytes) -> None:
    """Check that members are one after the other inside the file, and that the file ends in zeros."""
    end = 0
    for member in read_members(path):
        assert end <= member.offset - 512 and member.offset + member.size_bytes <= len(data)
        end = member.offset + member.size_bytes
    assert not data[-1024:].strip(b"\0")


def check_json(data: bytes) -> bool:
    try:
        value = load_object(data)
    except SampleRejectedError as rejected:
        assert rejected.code == "JSON_BAD"
        return False
    assert json.loads(data) == value
    return True


def check_caption(data: bytes) -> bool:
    try:
        stored = decode_caption(data)
    except SampleRejectedError as rejected:
        assert rejected.code in ("CAP_UTF8", "CAP_LONG", "CAP_EMPTY")
        return False
    given = data.decode("utf-8")
    assert len(stored.text) <= min(len(given), MAX_CHARS) and stored.text.encode("utf-8")
    assert all(old == new or new == " " for old, new in zip(given, stored.text, strict=False))
    assert len(stored.text) == len(given) or stored.cut_from == len(given)
    return True


def check_url(data: bytes) -> bool:
    text = data.decode("utf-8", "surrogateescape")
    assert "c4n4ry" not in redact(f"https://u:c4n4ry@h/{text.replace('c4n4ry', '')}")
    try:
        urls = [url for url, _ in zip(expand_braces(text), range(50), strict=False)]
        for url in urls:
            absolute = check_shard_url(absolute_url(url))
            assert "://" not in absolute or absolute.split("://")[0] in PROTOCOLS, absolute
            assert "::" not in absolute and "\0" not in absolute
            assert absolute_url(absolute) == absolute, "a URL has two spellings"
    except ConfigError:
        return False
    return True


def check_image(data: bytes) -> bool:
    try:
        decoded = decode_image(data)
    except SampleRejectedError as rejected:
        assert rejected.code in SAMPLE_CODES and rejected.code.startswith("IMG_"), rejected.code
        return False
    assert decoded.rgb_u8.dtype == np.uint8 and decoded.rgb_u8.shape == (decoded.height, decoded.width, 3)
    assert decoded.width * decoded.height <= MAX_PIXELS and 1 <= decoded.exif_orientation <= 8
    assert sorted((decoded.width, decoded.height)) == sorted((decoded.stored_width, decoded.stored_height))
    return True


def tar_seeds() -> list[bytes]:
    members = [*sample_members("a", "a red patch", tag=1), *sample_members("folder/" * 18 + "b", "a dog")]
    return [tar_bytes(members, kind)[: -8 * 512] for kind in (1, 2)] + [tar_bytes(members[:3], 0)]


def parquet_seeds() -> list[bytes]:
    rows = {
        "jpg": [picture()] * 6,
        "caption": ["a red patch"] * 6,
        "tag": [[1, 2]] * 6,
        "key": list("abcdef"),
    }
    seeds = []
    for options in (
        {},
        {"compression": "zstd", "row_group_size": 2},
        {"use_dictionary": False, "compression": "none"},
    ):
        sink = io.BytesIO()
        pq.write_table(pa.table(rows), sink, **options)
        seeds.append(sink.getvalue())
    return seeds


def image_seeds() -> list[bytes]:
    image = Image.effect_noise((40, 24), 60).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    seeds = []
    for suffix, options in (
        ("JPEG", {"exif": exif}), ("JPEG", {"progressive": True}), ("PNG", {"exif": exif}), ("WEBP", {}), ("BMP", {}),
        ("WEBP", {"lossless": True}), ("TIFF", {"tiffinfo": {0x0112: 6}}), ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ):  # fmt: skip
        seeds.append(_saved(image, suffix, options))
    seeds.append(_saved(image.quantize(16), "GIF", {"save_all": True, "append_images": [image.quantize(8)]}))
    seeds.append(_saved(image.quantize(16), "PNG", {"transparency": 3}))
    seeds.append(_saved(image.convert("CMYK"), "JPEG", {}))
    return seeds


def _saved(image: Image.Image, suffix: str, options: dict) -> bytes:
    sink = io.BytesIO()
    image.save(sink, suffix, **options)
    return sink.getvalue()


def json_seeds() -> list[bytes]:
    about = {
        "caption": "a \u00fcber patch \U0001f600",
        "url": "http://x/1",
        "width": 4.5e2,
        "all": [{"a": [None, True]}] * 3,
    }
    return [
        json.dumps(about).encode(),
        json.dumps(about, ensure_ascii=False).encode(),
        b'{"a": "\\ud83d\\ude00"}',
    ]


def caption_seeds() -> list[bytes]:
    return [
        b"a dog beside a lynx",
        "İ ﬁ שלום 👩‍👩‍👧 \u202e\x00".encode(),
        b"word " * 600,
        b"\xed\xa0\x80 a",
    ]


def url_seeds() -> list[bytes]:
    urls = (
        "s3://b/{00..12}.tar",
        "file:///a/%20b.tar",
        "/a/{x,y}/*.tar",
        "gs://b/k",
        "simplecache::s3://b/k",
        "a b",
        "http://h/k",
    )
    return [url.encode() for url in urls]


TARGETS = {
    "tar": Target(tar_seeds, check_tar),
    "parquet": Target(parquet_seeds, check_parquet),
    "image": Target(image_seeds, check_image),
    "json": Target(json_seeds, check_json),
    "caption": Target(caption_seeds, check_caption),
    "url": Target(url_seeds, check_url),
}


def findings(name: str, count: int, first: int = 0) -> tuple[dict[int, str], int]:
    """Return (findings by seed, number of accepted inputs) of `count` mutated inputs."""
    target = TARGETS[name]
    seeds = target.seeds()
    broken: dict[int, str] = {}
    accepted = 0
    for seed in range(first, first + count):
        try:
            accepted += target.check(mutated(seeds, seed))
        except Exception as error:
            broken[seed] = f"{type(error).__name__}: {error}"
    return broken, accepted


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    found, taken = findings(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0)
    print(f"{sys.argv[2]} inputs, {taken} accepted, {len(found)} broke a promise")
    for number, words in list(found.items())[:20]:
        print(number, words[:300])
