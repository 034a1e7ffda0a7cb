from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.ledger.snapshots.snapshots import latest_snapshot, snapshot_entries
from engine.ledger.verify import verify
from engine.ledger.verify_deep import InputVerifier
from engine.storage.store import open_store
from pipelines.label.run import label
from pipelines.label.verify_against_shards import read_input_settings, verify_deep
from schemas.errors import ConflictError
from tests.engine.small_teacher import FACTORIES
from tests.engine.worlds import job_of, picture, plain_captions, sample_members, tar_bytes, write_shard


def labeled(folder: Path, data: bytes) -> str:
    (folder / "a.tar").write_bytes(data)
    label(job_of(folder, [folder / "a.tar"], input={"keep": ["tag"]}), factories=FACTORIES)
    return str(folder / "out")


def shard_of(**changes: bytes) -> bytes:
    """Return three samples and one without a caption; changes replace a member's bytes."""
    members = [member for n in range(3) for member in sample_members(f"k{n}", f"a red patch {n}", tag=n)]
    members.append(("k3.png", picture()))
    return tar_bytes([(name, changes.get(name.replace(".", "_"), data)) for name, data in members])


def difference(folder: Path, data: bytes) -> str:
    """Return what `verify_deep` reports after the shard's bytes were replaced; plain `verify` sees nothing."""
    out = labeled(folder, shard_of())
    (folder / "a.tar").write_bytes(data)
    verify(out)
    with pytest.raises(ConflictError) as caught:
        verify_deep(out)
    return str(caught.value)


def test_an_output_whose_inputs_are_as_they_were_passes(tmp_path: Path) -> None:
    out = labeled(tmp_path, shard_of())

    summary = verify_deep(out)

    assert summary["samples"]["in"] == 4 and summary["samples"]["rejected"] == {"CAP_MISSING": 1}


def test_of_a_subset_the_chosen_samples_are_compared_and_the_others_are_not(tmp_path: Path) -> None:
    (tmp_path / "keys.txt").write_text("k0\nk2\n")
    (tmp_path / "a.tar").write_bytes(shard_of())
    label(
        job_of(tmp_path, [tmp_path / "a.tar"], input={"keep": ["tag"], "only": str(tmp_path / "keys.txt")}),
        factories=FACTORIES,
    )
    out = str(tmp_path / "out")

    assert verify_deep(out)["samples"]["rejected"] == {"NOT_SELECTED": 2}
    (tmp_path / "a.tar").write_bytes(shard_of(k1_txt=b"not asked for", k2_txt=b"asked for"))
    with pytest.raises(ConflictError) as caught:
        verify_deep(out)
    assert "sample 2 ('k2'): caption" in str(caught.value) and "sample 1" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"k1_txt": b"a red patch !"},
            ["its bytes have sha256:", "sample 1 ('k1'): caption is 'a red patch !'"],
        ),
        ({"k1_png": picture("blue")}, ["sample 1 ('k1'): image_sha256 is"]),
        ({"k1_png": picture("red", 64, 32)}, ["width is 64, labeled was 48"]),
        ({"k1_png": b"no image"}, ["labeled, reading it now rejects it with IMG_FORMAT"]),
        ({"k2_json": b'{"tag": 9}'}, ["sample 2 ('k2'): meta is"]),
    ],
)
def test_each_thing_that_changed_is_named(
    tmp_path: Path, changes: dict[str, bytes], words: list[str]
) -> None:
    said = difference(tmp_path, shard_of(**changes))

    assert all(part in said for part in words), said


def test_a_rejected_sample_that_can_be_read_now_is_named(tmp_path: Path) -> None:
    changed = shard_of().replace(b"k3.png", b"k3.txt")  # its header's checksum no longer fits

    assert "SHARD_FORMAT" in difference(tmp_path, changed)
    whole = tar_bytes(
        [member for n in range(4) for member in sample_members(f"k{n}", f"a red patch {n}", tag=n)]
    )
    (tmp_path / "a.tar").write_bytes(whole)
    with pytest.raises(ConflictError, match="rejected with CAP_MISSING, reading it now gives a sample"):
        verify_deep(str(tmp_path / "out"))


def test_samples_that_are_gone_are_named(tmp_path: Path) -> None:
    said = difference(tmp_path, tar_bytes(sample_members("k0", "a red patch 0", tag=0)))

    assert "sample 3 is no longer in the shard" in said


def test_a_missing_shard_is_named_and_a_moved_one_is_found_through_roots(tmp_path: Path) -> None:
    out = labeled(tmp_path, shard_of())
    (tmp_path / "there").mkdir()
    (tmp_path / "a.tar").rename(tmp_path / "there" / "a.tar")

    with pytest.raises(ConflictError, match="SHARD_MISSING"):
        verify_deep(out)

    assert verify_deep(out, roots={f"{tmp_path}/": f"{tmp_path}/there/"})["samples"]["in"] == 4


def test_rows_of_a_parquet_shard_are_compared_too(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    columns = {"jpg": [picture("red"), picture("green"), b""], "caption": plain_captions(3)}
    pq.write_table(pa.table(columns), path, row_group_size=2)
    label(job_of(tmp_path, [path], input={"format": "parquet"}), factories=FACTORIES)
    assert verify_deep(str(tmp_path / "out"))["samples"]["rejected"] == {"IMG_EMPTY": 1}

    pq.write_table(
        pa.table(columns | {"jpg": [picture("red"), picture("blue"), b""]}), path, row_group_size=2
    )

    with pytest.raises(ConflictError, match=r"sample 1 \('1'\): image_sha256"):
        verify_deep(str(tmp_path / "out"))


def test_other_rules_of_reading_do_not_compare(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", plain_captions(2))
    label(job_of(tmp_path, [tmp_path / "a.tar"]), factories=FACTORIES)
    store = open_store(str(tmp_path / "out"))
    snapshot = latest_snapshot(store)
    other = read_input_settings(store, snapshot.job_digest).model_copy(update={"caption": "json:caption"})

    problems = list(InputVerifier(other).problems(store, next(snapshot_entries(store, snapshot))))

    assert len(problems) == 1 and "rules of another" in problems[0]
