"""The texts of rejections and of damaged shards: records store them, and the digest of a unit covers those of its rows.

All constants were computed before the packages got their present layout. No change of a text may change them.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.ledger.rows import rows_digest
from engine.ledger.unit_result import UnitResult
from engine.reading.formats.parquet import read_parquet_image
from engine.reading.shards import open_shard
from engine.settings import InputSettings
from engine.storage.safe_parquet import UnsafeFooterError
from engine.worker.errors import NoSampleToBlameError, TeacherBrokenError
from engine.worker.label_unit import UnitRun, check_teacher
from engine.worker.loading import LoadedTeacher
from schemas.errors import (
    ConflictError,
    EmptyPhraseError,
    NotFoundError,
    OutOfMemoryError,
    RuntimeEnvironmentError,
    SampleRejectedError,
    ShardDamagedError,
    stored_name,
)
from schemas.labeler import PreparedSample
from schemas.ledger import Unit, unit_name
from schemas.records import Region
from schemas.settings import EvidenceSettings
from tests.engine.reading.test_images import png_header
from tests.engine.small_teacher import SmallFinder, SmallLabeler
from tests.engine.worlds import tar_bytes
from tests.reading.test_image_bombs import TIFF_DATA, tiff, tiled

URL = "s3://bucket/shard"


def bmp(width: int, height: int, seed: int = 7) -> bytes:
    """Return a bitmap from these lines, so that no release of an encoder changes its digest."""
    row_bytes = -(-width * 3 // 4) * 4
    pixels = bytes(
        (x * seed + y * 13) % 251 if x < width * 3 else 0 for y in range(height) for x in range(row_bytes)
    )
    about = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(pixels), 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(pixels), 0, 0, 54) + about + pixels


def bordered() -> bytes:
    """Return a square of 256 px with white borders above and below."""
    data = bytearray(bmp(256, 256))
    row_bytes = 256 * 3
    for y in (*range(64), *range(192, 256)):
        data[54 + y * row_bytes : 54 + (y + 1) * row_bytes] = b"\xff" * row_bytes
    return bytes(data)


def untold_tiles() -> bytes:
    """Return a TIFF with a letter where the width of its tiles should be."""
    return tiff(
        [(259, 3, 1, 8), (322, 2, 2, 0x70), (323, 4, 1, 112), (324, 4, 1, 8), (325, 4, 1, len(TIFF_DATA))]
    )


class FailingLabeler(SmallLabeler):
    """Also fails in `label`, with errors whose classes were renamed."""

    def label(self, batch: Sequence[PreparedSample | None]) -> list[list[Region]]:
        captions = [row.inputs[0].caption for row in batch if row]
        if any("wordless" in caption for caption in captions):
            raise EmptyPhraseError("a phrase without a token")
        if any("insatiable" in caption for caption in captions):
            raise OutOfMemoryError
        if any("outlying" in caption for caption in captions):
            return [[Region(phrase=9, x0=0, y0=0, x1=9, y1=9, score=0.5)] for _ in batch]
        return super().label(batch)


def label_unit(path: Path, **settings: object) -> UnitResult:
    shard = open_shard(path, URL, InputSettings(urls=("x",), **settings).reading())
    unit = Unit(name=unit_name(URL, 0), shard=URL, input_digest="sha256:x", first=0, count=len(shard))
    teacher = LoadedTeacher(FailingLabeler({}, "sha256:small", 4, 0.05), SmallFinder())
    run = UnitRun(unit, shard, teacher, EvidenceSettings())
    run.begin()
    result = run.finish()
    check_teacher(unit, result)
    return result


def texts(result: UnitResult) -> list[tuple[str, str]]:
    return [(row["code"], row["detail"]) for row in result.rejections]


def digest(result: UnitResult) -> str:
    return rows_digest(result.rows, result.rejections)


def write_tar(path: Path) -> None:
    image, text = bmp(48, 32), b"a red patch"
    sizes = json.dumps({"original_width": 640, "original_height": 320}).encode()
    members = [
        ("00.png", image), ("00.txt", text),
        ("01.txt", text),
        ("02.png", b""), ("02.txt", text),
        ("03.png", b"<html>"), ("03.txt", text),
        ("04.png", png_header(9_000, 9_000)), ("04.txt", text),
        ("05.png", bmp(600, 16)), ("05.txt", text),
        ("06.png", tiled(32_768, 32_768, 8)), ("06.txt", text),
        ("07.png", untold_tiles()), ("07.txt", text),
        ("08.png", image),
        ("09.png", image), ("09.txt", b" . "),
        ("10.png", image), ("10.txt", b"\xff"),
        ("11.png", image), ("11.txt", b"a" * 70_000),
        ("12.png", image), ("12.txt", text), ("12.json", b'{"a": NaN}'),
        ("13.png", image), ("13.txt", text), ("13.json", b"[" * 40 + b"]" * 40),
        ("14.png", image), ("14.txt", text), ("14.json", b"[]"),
        ("15.png", image), ("15.txt", text), ("15.json", b'{"a": 1, "a": 2}'),
        ("16.png", image), ("16.PNG", image), ("16.txt", text),
        ("17.png", bordered()), ("17.txt", text), ("17.json", sizes),
        ("18.png", image), ("18.txt", b"explode a red patch"),
        ("19.png", image), ("19.txt", b"notanumber a red patch"),
        ("20.png", image), ("20.txt", b"unspeakable a red patch"),
        ("21.png", image), ("21.txt", b"unpreparable a red patch"),
        ("22.png", image), ("22.txt", b"wordless a red patch"),
        ("23.png", image), ("23.txt", b"insatiable a red patch"),
        ("24.png", image), ("24.txt", b"outlying a red patch"),
        ("README", b"hello"),
        ("25.png", image), ("25.txt", b"the blue wall"),
    ]  # fmt: skip
    path.write_bytes(tar_bytes(members))


SPANS = [[], "x", [[0, 5, 9]], [[0, 99]], [[3, 3]], [[1, 2]], [[True, 2]], [[0, 2]] * 257]


def write_spans(path: Path) -> None:
    fields = [*({"at": spans} for spans in SPANS), {}]
    path.write_bytes(
        tar_bytes(
            [
                member
                for index, about in enumerate(fields)
                for member in (
                    (f"{index}.png", bmp(48, 32)),
                    (f"{index}.txt", b"a red patch"),
                    (f"{index}.json", json.dumps(about).encode()),
                )
            ]
        )
    )


def write_table(path: Path, keys: pa.Array, **columns: list[object]) -> None:
    plain = {"image": [bmp(48, 32)] * len(keys), "caption": ["a red patch"] * len(keys)}
    pq.write_table(pa.table({**plain, **columns, "key": keys}), path)


TAR_TEXTS = [
    ("IMG_MISSING", "members: ['txt'], wanted ('jpg', 'jpeg', 'png', 'webp')"),
    ("IMG_EMPTY", "0 bytes"),
    ("IMG_FORMAT", "no image that can be opened; first bytes b'<html>'"),
    ("IMG_SIZE", "9000 x 9000 px"),
    ("IMG_SIZE", "600 x 16 px"),
    ("IMG_SIZE", "a TIFF with tiles of 32768 x 32768 px"),
    ("IMG_DECODE", "a TIFF with tiles of ['p', 112]"),
    ("CAP_MISSING", "members: ['png'], wanted .txt"),
    ("CAP_EMPTY", "no letter or digit in 3 characters"),
    ("CAP_UTF8", "byte 0: invalid start byte"),
    ("CAP_LONG", "'11.txt': 70000 bytes, at most 65536"),
    ("JSON_BAD", "NaN is not JSON"),
    ("JSON_BAD", "nested deeper than 32"),
    ("JSON_BAD", "expected an object, found list"),
    ("JSON_BAD", "an object names a field twice"),
    ("DUP_MEMBER", "more than one .png"),
    (
        "FRAME_PADDED",
        "640 x 320 px became a square of 256 px with borders of 64 px; download with resize_mode keep_ratio",
    ),
    ("TEACHER_ERROR", "ValueError: a caption that the teacher chokes on"),
    ("TEACHER_NONFINITE", "score is nan"),
    ("TEACHER_ERROR", "phrases: ValueError: a caption that the finder chokes on"),
    ("TEACHER_ERROR", "prepare: ValueError: a caption that cannot be made ready"),
    ("TEACHER_ERROR", "EmptyPhrase: a phrase without a token"),
    ("OOM", "OutOfMemory"),
    ("TEACHER_ERROR", "region of phrase 9, the sample has 1"),
    ("IMG_MISSING", "member 'README' has no key or no extension"),
]
TAR_DIGEST = "sha256:f3031982ac944f09d53dcb7af5df0ce76730287b960c0e55471f85a1583dfdbb"
SPAN_TEXTS = [
    ("SPANS_BAD", "str, expected a list of [begin, end]"),
    ("SPANS_BAD", "[0, 5, 9] is no [begin, end] of two whole numbers"),
    ("SPANS_BAD", "[0, 99) is no stretch of a caption of 11 code points"),
    ("SPANS_BAD", "[3, 3) is no stretch of a caption of 11 code points"),
    ("SPANS_BAD", "[1, 2) holds no letter or digit"),
    ("SPANS_BAD", "[True, 2] is no [begin, end] of two whole numbers"),
    ("SPANS_BAD", "257 spans, at most 256"),
    ("SPANS_BAD", "no json field 'at'; write [] where none are given"),
]
SPAN_DIGEST = "sha256:0699b2522d22ea8bd927f18927dc2dd82a720b17caa7505bdf2b3bc23737bdda"
TABLE_TEXTS = [
    ("KEY_BAD", "row 1: column 'key' is null, expected a key; write one in every row"),
    ("KEY_BAD", "row 2: column 'key' is empty, expected a key; write one in every row"),
    ("KEY_BAD", "row 3: column 'key' holds bytes that are not UTF-8 (ff 00); write keys as text"),
    ("KEY_BAD", "row 4: column 'key' holds 16385 characters, at most 16384; shorten the key"),
    ("CAP_MISSING", "column 'caption' is null"),
    ("IMG_EMPTY", "0 bytes"),
    ("CAP_EMPTY", "no letter or digit in 1 characters"),
    ("TEACHER_ERROR", "EmptyPhrase: a phrase without a token"),
]
TABLE_DIGEST = "sha256:39c616162f806957d6c77996bdf102878a5806da54d499f118fcf87171af029d"
NUMBER_TEXTS = [
    ("KEY_BAD", "row 1: column 'key' holds 1.5, expected a whole number; write keys as text"),
    ("KEY_BAD", "row 2: column 'key' holds nan, expected a whole number; write keys as text"),
    ("KEY_BAD", "row 3: column 'key' holds -inf, expected a whole number; write keys as text"),
]
NUMBER_DIGEST = "sha256:aa294457e131199da19a9bc28826b529d5116f31a09f7256921f8aac81881916"
DAMAGE_TEXTS = {
    "flipped.tar": "SHARD_FORMAT: s3://bucket/shard: at byte 0: no tar header here (its checksum does "
    "not match)",
    "cut.tar": "SHARD_TRUNCATED: s3://bucket/shard: at byte 0: 'a.png' has 4662 bytes, 2488 are left",
    "open.tar": "SHARD_TRUNCATED: s3://bucket/shard: at byte 5632: 'a.txt' has 11 bytes, 0 are left",
    "zeros.tar": "SHARD_FORMAT: s3://bucket/shard: at byte 1024: one zero block alone inside the archive",
    "twice.tar": "SHARD_FORMAT: s3://bucket/shard: at byte 7680: data after the end of the archive "
    "(concatenated?)",
    "huge.tar": "SHARD_FORMAT: s3://bucket/shard: at byte 0: a member size that is negative or absurd",
    "negative.tar": "SHARD_FORMAT: s3://bucket/shard: at byte 0: a member size that is negative or absurd",
    "words.tar": "SHARD_FORMAT: s3://bucket/shard: at byte 0: member size b'not a number' is not octal",
    "long.tar": "SHARD_TRUNCATED: s3://bucket/shard: at byte 0: 'a.txt' has 32767 bytes, 1024 are left",
    "empty.parquet": "SHARD_FORMAT: s3://bucket/shard: UnfitFooter: 0 bytes that do not end as a "
    "Parquet file does",
    "footer.parquet": "SHARD_FORMAT: s3://bucket/shard: UnfitFooter: a footer of 2147483647 bytes, at "
    "most 16777216",
    "1.tar": "SHARD_FORMAT: s3://bucket/shard: at byte 0: member of type b'1' is a hard link; only "
    "files are read",
    "2.tar": "SHARD_FORMAT: s3://bucket/shard: at byte 0: member of type b'2' is a symbolic link; "
    "only files are read",
    "3.tar": "SHARD_FORMAT: s3://bucket/shard: at byte 0: member of type b'3' is no file; only files "
    "are read",
    "S.tar": "SHARD_FORMAT: s3://bucket/shard: at byte 0: member of type b'S' is a sparse member; "
    "only files are read",
    "no caption": "SHARD_SCHEMA: s3://bucket/shard: no text column 'txt' for the caption; columns: "
    "['image', 'words']",
    "no image": "SHARD_SCHEMA: s3://bucket/shard: no image column; columns of bytes or struct<bytes, "
    "path>: [], asked for: ['jpg', 'jpeg', 'png', 'webp'], all columns: ['caption']",
    "numbers": "SHARD_SCHEMA: s3://bucket/shard: no image column; columns of bytes or struct<bytes, "
    "path>: [], asked for: ['jpg', 'jpeg', 'png', 'webp'], all columns: ['image', "
    "'caption']",
    "nested key": "SHARD_SCHEMA: s3://bucket/shard: column 'key' has type list<element: int64>, "
    "expected keys: text, bytes that are text, or whole numbers; write the keys as "
    "text, or drop the column (then positions are the keys)",
    "twice": "SHARD_SCHEMA: s3://bucket/shard: two columns are called 'url'",
    "extension": "SHARD_SCHEMA: s3://bucket/shard: Arrow extension types are refused; store plain columns",
    "spans": "SHARD_SCHEMA: s3://bucket/shard: column 'at' has type int64",
    "row": "INPUT_CHANGED: s3://bucket/shard: row group 0 has 1 rows, row 5 was asked for",
    "row group": "INPUT_CHANGED: s3://bucket/shard: no image column 'image' or no row group 1",
}
BROKEN_TEXT = (
    "c70fc2c6dacd433e-00000000: all 2 samples failed, "
    "e.g. TEACHER_ERROR: EmptyPhrase: a phrase without a token"
)


def tar_result(folder: Path) -> UnitResult:
    write_tar(folder / "a.tar")
    return label_unit(folder / "a.tar")


def span_result(folder: Path) -> UnitResult:
    write_spans(folder / "a.tar")
    return label_unit(folder / "a.tar", spans="json:at")


def table_result(folder: Path) -> UnitResult:
    keys = [b"a", None, b"", b"\xff\x00", b"x" * 16_385, b"b", b"c", b"d", b"e"]
    captions = ["a red patch"] * 5 + [None, "a red patch", " ", "wordless a red patch"]
    images = [bmp(48, 32)] * 6 + [None, bmp(48, 32), bmp(48, 32)]
    write_table(folder / "a.parquet", pa.array(keys), caption=captions, image=images)
    return label_unit(folder / "a.parquet", format="parquet")


def number_result(folder: Path) -> UnitResult:
    write_table(folder / "a.parquet", pa.array([1.0, 1.5, float("nan"), float("-inf"), 4.0]))
    return label_unit(folder / "a.parquet", format="parquet")


def damaged_files() -> dict[str, bytes]:
    whole = tar_bytes([("a.png", bmp(48, 32)), ("a.txt", b"a red patch")])
    header = bytearray(whole[:512])
    header[0] ^= 1
    link = bytearray(tar_bytes([("a.txt", b"")])[:512])
    damaged = {
        "flipped.tar": bytes(header) + whole[512:],
        "cut.tar": whole[:3000],
        "open.tar": whole[: -len(whole) % 512 + 512 * 12],
        "zeros.tar": bytes(512) + whole,
        "twice.tar": whole + whole,
        "huge.tar": forged(link, size=b"\x80" + b"\0" * 3 + b"\x7f" * 8) + bytes(1024),
        "negative.tar": forged(link, size=b"\xff" * 12) + bytes(1024),
        "words.tar": forged(link, size=b"not a number") + bytes(1024),
        "long.tar": forged(link, size=b"00000077777\0") + bytes(1024),
        "empty.parquet": b"",
        "footer.parquet": b"PAR1" + bytes(20) + b"\xff\xff\xff\x7fPAR1",
    }
    for kind in (b"1", b"2", b"3", b"S"):
        damaged[f"{kind.decode()}.tar"] = forged(link, kind=kind) + bytes(1024)
    return damaged


def forged(header: bytearray, size: bytes = b"00000000000\0", kind: bytes = b"0") -> bytes:
    """Return a tar header with another size and kind, and with the checksum that belongs to them."""
    block = bytearray(header)
    block[124:136], block[156:157], block[148:156] = size, kind, b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def damaged_tables() -> dict[str, pa.Table]:
    columns = {"image": [b"x"], "caption": ["a red patch"]}
    return {
        "no caption": pa.table({"image": [b"x"], "words": ["a red patch"]}),
        "no image": pa.table({"caption": ["a red patch"]}),
        "numbers": pa.table({"image": [1], "caption": ["a red patch"]}),
        "nested key": pa.table({**columns, "key": [[1]]}),
        "twice": pa.table(
            list(map(pa.array, ([b"x"], ["a"], ["u"], ["v"]))), ["image", "caption", "url", "url"]
        ),
        "extension": pa.table({**columns, "id": pa.array([bytes(16)], pa.uuid())}),
    }


def damage_of(path: Path, **settings: object) -> str:
    try:
        shard = open_shard(path, URL, InputSettings(urls=("x",), **settings).reading())
        list(shard.samples(0, len(shard)))
    except ShardDamagedError as damage:
        return str(damage)
    return ""


def damage_texts(folder: Path) -> dict[str, str]:
    found = {}
    for name, data in damaged_files().items():
        (folder / name).write_bytes(data)
        form = "parquet" if name.endswith(".parquet") else "webdataset"
        found[name] = damage_of(folder / name, format=form)
    for name, table in damaged_tables().items():
        pq.write_table(table, folder / "table.parquet")
        found[name] = damage_of(folder / "table.parquet", format="parquet")
    write_table(folder / "spans.parquet", pa.array(["a"]), at=[1])
    found["spans"] = damage_of(folder / "spans.parquet", format="parquet", spans="at")
    found["row"] = changed_text(folder / "spans.parquet", "image", 0)
    found["row group"] = changed_text(folder / "spans.parquet", "image", 1)
    return found


def changed_text(path: Path, column: str, row_group: int) -> str:
    with pytest.raises(ShardDamagedError) as caught:
        read_parquet_image(path, URL, row_group, 5, column)
    return str(caught.value)


def broken_text(folder: Path) -> str:
    write_tar_of_captions(folder / "a.tar", ["explode a red patch", "wordless a red patch"])
    with pytest.raises(TeacherBrokenError) as caught:
        label_unit(folder / "a.tar")
    return str(caught.value)


def write_tar_of_captions(path: Path, captions: Sequence[str]) -> None:
    members = [
        member
        for index, caption in enumerate(captions)
        for member in ((f"{index}.png", bmp(48, 32)), (f"{index}.txt", caption.encode()))
    ]
    path.write_bytes(tar_bytes(members))


@pytest.mark.parametrize(
    ("label_world", "expected_texts", "expected_digest"),
    [
        (tar_result, TAR_TEXTS, TAR_DIGEST),
        (span_result, SPAN_TEXTS, SPAN_DIGEST),
        (table_result, TABLE_TEXTS, TABLE_DIGEST),
        (number_result, NUMBER_TEXTS, NUMBER_DIGEST),
    ],
)
def test_the_texts_of_rejections_and_the_digest_of_their_unit_are_as_ever(
    tmp_path: Path,
    label_world: Callable[[Path], UnitResult],
    expected_texts: list[tuple[str, str]],
    expected_digest: str,
) -> None:
    result = label_world(tmp_path)

    assert texts(result) == expected_texts
    assert digest(result) == expected_digest


def test_the_texts_of_damaged_shards_are_as_ever(tmp_path: Path) -> None:
    assert damage_texts(tmp_path) == DAMAGE_TEXTS


def test_the_text_of_a_unit_that_no_sample_survived_is_as_ever(tmp_path: Path) -> None:
    assert broken_text(tmp_path) == BROKEN_TEXT


def test_renamed_errors_keep_their_stored_names() -> None:
    renamed = {
        NotFoundError: "NotFound",
        ConflictError: "Conflict",
        RuntimeEnvironmentError: "EnvironmentProblem",
        OutOfMemoryError: "OutOfMemory",
        EmptyPhraseError: "EmptyPhrase",
        UnsafeFooterError: "UnfitFooter",
        NoSampleToBlameError: "NotTheSamples",
        ValueError: "ValueError",
    }

    class OwnError(ConflictError):
        """A teacher's own error, which has no stored name of its own."""

    assert {kind: stored_name(kind("x")) for kind in renamed} == renamed
    assert stored_name(SampleRejectedError("OOM")) == "SampleRejected"
    assert stored_name(ShardDamagedError("SHARD_FORMAT", "x")) == "ShardDamaged"
    assert stored_name(OwnError("x")) == "OwnError"
