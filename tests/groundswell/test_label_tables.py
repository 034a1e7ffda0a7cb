"""Labels opened by the public API are those on disk, in each form."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pytest

import groundswell as gs
from engine.storage.filesystems import open_filesystem
from schemas.arrow import EVIDENCE, VIEW
from schemas.errors import ConflictError, NotFoundError, RuntimeEnvironmentError
from tests.engine.s3_server import s3_bucket
from tests.groundswell.conftest import CAPTIONS, SmallWorld


@pytest.fixture(scope="module")
def view(small_world: SmallWorld, tmp_path_factory: pytest.TempPathFactory) -> str:
    url = str(tmp_path_factory.mktemp("views") / "view")
    gs.compile(str(small_world.evidence), {"min_score": 0.1, "candidate_score": 0.05}, to=url)
    return url


def test_evidence_is_an_iterator_of_rows_in_order(small_world: SmallWorld) -> None:
    evidence = gs.open_evidence(str(small_world.evidence))

    rows = list(evidence)

    assert [row["caption"] for row in rows] == list(CAPTIONS)
    assert len(evidence) == len(rows) == evidence.num_rows and evidence.kind == "evidence"
    assert evidence.digest.startswith("sha256:") and list(evidence) == rows


def test_arrow_and_pandas_hold_the_same_rows(small_world: SmallWorld, view: str) -> None:
    for labels, schema in (
        (gs.open_evidence(str(small_world.evidence)), EVIDENCE),
        (gs.open_view(view), VIEW),
    ):
        table = labels.to_arrow()

        assert table.schema.equals(schema) and table.to_pylist() == list(labels)
        assert labels.to_pandas()["caption"].tolist() == [row["caption"] for row in labels]


def test_a_view_says_its_kind_and_digest(view: str) -> None:
    opened = gs.open_view(view)

    assert opened.kind == "view" and opened.digest in repr(opened)
    assert all(region["fate"] in ("positive", "ignore") for row in opened for region in row["regions"])


def test_evidence_is_compiled_with_the_storage_that_it_was_opened_with(
    small_world: SmallWorld, tmp_path: Path
) -> None:
    policy = {"min_score": 0.1, "candidate_score": 0.05}
    with s3_bucket() as (bucket, storage):
        filesystem, folder = open_filesystem(f"{bucket}/evidence", storage)
        for path in filter(Path.is_file, small_world.evidence.rglob("*")):
            filesystem.pipe_file(f"{folder}/{path.relative_to(small_world.evidence)}", path.read_bytes())
        evidence = gs.open_evidence(f"{bucket}/evidence", storage)

        report = gs.compile(evidence, policy, to=str(tmp_path / "remote"))

    local = gs.compile(gs.open_evidence(str(small_world.evidence)), policy, to=str(tmp_path / "local"))
    assert report.digest == local.digest


def test_an_empty_view_has_the_columns_of_a_view(small_world: SmallWorld, tmp_path: Path) -> None:
    nothing = {"min_score": 1.0, "keep_samples_without_box": False, "ignore_score": None}
    gs.compile(str(small_world.evidence), nothing, to=str(tmp_path / "view"))

    table = gs.open_view(str(tmp_path / "view")).to_arrow()

    assert table.num_rows == 0 and table.schema.equals(VIEW)


def test_a_dataset_without_its_library_is_refused_with_a_remedy(
    small_world: SmallWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    evidence = gs.open_evidence(str(small_world.evidence))
    for name, method in (("datasets", evidence.to_dataset), ("pandas", evidence.to_pandas)):
        monkeypatch.setitem(sys.modules, name, None)

        with pytest.raises(RuntimeEnvironmentError, match=f"pip install {name}"):
            method()


def test_a_dataset_has_the_same_rows(small_world: SmallWorld) -> None:
    pytest.importorskip("datasets")
    evidence = gs.open_evidence(str(small_world.evidence))

    assert list(evidence.to_dataset()) == list(evidence)


def test_labels_that_changed_or_are_not_there_are_refused(view: str, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        gs.open_view(str(tmp_path))
    with pytest.raises(NotFoundError):
        gs.open_evidence(str(tmp_path))
    (part,) = (Path(view) / "data").iterdir()
    before = part.read_bytes()
    part.write_bytes(before[:-1] + b"x")
    try:
        with pytest.raises(ConflictError):
            gs.open_view(view).to_arrow()
    finally:
        part.write_bytes(before)


def test_the_type_of_tables_is_arrow(small_world: SmallWorld) -> None:
    tables = list(gs.open_evidence(str(small_world.evidence)).tables())

    assert len(tables) == 2 and all(isinstance(table, pa.Table) for table in tables)
