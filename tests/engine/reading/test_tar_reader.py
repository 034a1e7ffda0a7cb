from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.reading.formats.tar import BLOCK, MAX_HEADER_BYTES, Member, read_members
from schemas.errors import ShardDamagedError
from tests.engine.worlds import sample_members, tar_bytes

SMALL = [("a.jpg", b"x" * 700), ("a.txt", b"a cat"), ("dir/b.jpg", b""), ("dir/b.json", b"{}")]
FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=160).filter(
    lambda name: not name.endswith("/")
)


def written(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "shard.tar"
    path.write_bytes(data)
    return path


def contents(path: Path, members: list[Member]) -> list[tuple[str, bytes]]:
    data = path.read_bytes()
    return [(member.name, data[member.offset : member.offset + member.size_bytes]) for member in members]


def code_of(path: Path) -> str:
    with pytest.raises(ShardDamagedError) as caught:
        read_members(path)
    return caught.value.code


def raw_header(name: bytes = b"a.txt", size: bytes = b"00000000000\0", kind: bytes = b"0") -> bytes:
    header = bytearray(BLOCK)
    header[: len(name)], header[124:136], header[156:157] = name, size, kind
    header[257:265] = b"ustar\x0000"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(NAMES, st.binary(max_size=1500)), max_size=6), st.sampled_from(FORMATS[1:]))
def test_what_python_writes_is_read_back(tmp_path: Path, members: list[tuple[str, bytes]], kind: int) -> None:
    path = written(tmp_path, tar_bytes(members, kind))

    assert contents(path, read_members(path)) == members


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_same_members(tmp_path: Path, kind: int) -> None:
    path = written(tmp_path, tar_bytes(SMALL, kind))

    assert contents(path, read_members(path)) == SMALL


@pytest.mark.parametrize("kind", FORMATS)
def test_truncation_at_every_block_is_never_silent(tmp_path: Path, kind: int) -> None:
    whole = tar_bytes(SMALL, kind)
    outcomes = []
    for blocks in range(len(whole) // BLOCK):
        path = written(tmp_path, whole[: blocks * BLOCK])
        try:
            outcomes.append(contents(path, read_members(path)))
        except ShardDamagedError as damage:
            outcomes.append(damage.code)

    # what is cut off may only be the padding behind the trailer
    assert set(map(str, outcomes)) == {"SHARD_TRUNCATED", str(SMALL)}
    assert outcomes.index(SMALL) * BLOCK > max(
        member.offset for member in read_members(written(tmp_path, whole))
    )


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_truncation_at_any_byte_is_never_silent(tmp_path: Path, data: st.DataObject) -> None:
    whole = tar_bytes([*SMALL, *sample_members("c", "a dog")])
    path = written(tmp_path, whole)
    expected = contents(path, read_members(path))
    path = written(tmp_path, whole[: data.draw(st.integers(0, len(whole) - 1))])

    try:
        assert contents(path, read_members(path)) == expected
    except ShardDamagedError as damage:
        assert damage.code in ("SHARD_TRUNCATED", "SHARD_FORMAT")


def test_a_flipped_header_byte_is_an_error(tmp_path: Path) -> None:
    whole = bytearray(tar_bytes(SMALL, tarfile.USTAR_FORMAT))
    whole[3] ^= 0x20

    assert code_of(written(tmp_path, bytes(whole))) == "SHARD_FORMAT"


def test_a_second_archive_behind_the_first_is_not_lost_in_silence(tmp_path: Path) -> None:
    assert code_of(written(tmp_path, tar_bytes(SMALL) + tar_bytes(SMALL))) == "SHARD_FORMAT"


@pytest.mark.parametrize("members", [[], [("a.txt", b"x")]])
def test_a_file_that_got_its_size_before_its_content_is_no_short_archive(
    tmp_path: Path, members: list
) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(tar_bytes(members))
    with path.open("r+b") as file:
        file.truncate(2 * 2**20)  # zeros to the end

    with pytest.raises(ShardDamagedError, match="SHARD_TRUNCATED.*written to its end"):
        read_members(path)

    with path.open("r+b") as file:
        file.truncate(2**20)  # as tar --blocking-factor 2048 pads
    assert len(read_members(path)) == len(members)


def test_a_lone_zero_block_is_an_error(tmp_path: Path) -> None:
    whole = tar_bytes(SMALL, tarfile.USTAR_FORMAT)

    assert code_of(written(tmp_path, bytes(BLOCK) + whole)) == "SHARD_FORMAT"


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"S", b"V", b"M"],
)
def test_members_that_are_no_files_are_refused(tmp_path: Path, kind: bytes) -> None:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        entry = tarfile.TarInfo("a.jpg")
        entry.type, entry.linkname = kind, "/etc/passwd"
        archive.addfile(entry)

    assert code_of(written(tmp_path, sink.getvalue())) == "SHARD_FORMAT"


def test_a_pax_sparse_member_is_refused(tmp_path: Path) -> None:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as archive:
        entry = tarfile.TarInfo("a.jpg")
        entry.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.realsize": str(2**40)}
        archive.addfile(entry)

    assert code_of(written(tmp_path, sink.getvalue())) == "SHARD_FORMAT"


def test_a_compressed_shard_is_named_as_such(tmp_path: Path) -> None:
    path = written(tmp_path, gzip.compress(tar_bytes(SMALL)))

    with pytest.raises(ShardDamagedError, match="gzip"):
        read_members(path)


@pytest.mark.parametrize(
    ("block", "code"),
    [
        (raw_header(size=b"77777777777\0"), "SHARD_TRUNCATED"),
        (raw_header(size=b"\x80" + b"\0" * 3 + b"\x7f" * 8), "SHARD_FORMAT"),
        (raw_header(size=b"\xff" * 12), "SHARD_FORMAT"),
        (raw_header(size=b"not a number"), "SHARD_FORMAT"),
        (raw_header(size=b"%011o\0" % (MAX_HEADER_BYTES + 1), kind=b"x"), "SHARD_LIMIT"),
        (raw_header(size=b"%011o\0" % 16, kind=b"x") + b"99 path=a.jpg\n\0\0" + bytes(496), "SHARD_FORMAT"),
    ],
)
def test_sizes_that_lie_are_refused_without_reading_them(tmp_path: Path, block: bytes, code: str) -> None:
    assert code_of(written(tmp_path, block + bytes(4 * BLOCK))) == code


def test_folders_are_passed_over_and_names_are_never_paths(tmp_path: Path) -> None:
    sink = io.BytesIO(tar_bytes([("../../etc/x.jpg", b"1"), ("/abs.txt", b"2")]))
    with tarfile.open(fileobj=sink, mode="a") as archive:
        folder = tarfile.TarInfo("folder/")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)

    names = [member.name for member in read_members(written(tmp_path, sink.getvalue()))]

    assert names == ["../../etc/x.jpg", "/abs.txt"]


def test_a_global_pax_header_holds_for_every_member(tmp_path: Path) -> None:
    sink = io.BytesIO()
    with tarfile.open(
        fileobj=sink, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "x"}
    ) as archive:
        for name in ("a.jpg", "b.jpg"):
            archive.addfile(tarfile.TarInfo(name))

    assert [member.name for member in read_members(written(tmp_path, sink.getvalue()))] == ["a.jpg", "b.jpg"]


def test_no_hostile_archive_crashes_the_reader_or_fills_memory(shared_data: Path) -> None:
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    archives = [path for path in sorted((shared_data / "nasty" / "tar").rglob("*")) if path.is_file()]
    read = {}
    for path in archives:
        try:
            read[path.name] = len(read_members(path))
        except ShardDamagedError as damage:
            read[path.name] = damage.code

    assert len(read) > 60
    assert read["test_read_format_tar_concatenated.tar"] == read["sparse-large.tar"] == "SHARD_FORMAT"
    assert read["pillow_hopper.tar"] == 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024
