"""The benchmarks of speed and memory run on sizes of a second, and print each figure beside its baseline."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import compile_speed, engine_scale, glip_parity, glip_speed, loader, loader_scale

Printed = pytest.CaptureFixture[str]


def test_compile_is_measured_beside_bare_parquet(capsys: Printed) -> None:
    compile_speed.main(["--units", "1", "--rows", "20"])

    head, _, *rows, memory = capsys.readouterr().out.splitlines()
    shares = {row[:18].strip(): [float(cell) for cell in row[18:].split()] for row in rows}
    assert head.split("  ")[0] == "20 rows" and head.endswith("of columns  of rows")
    assert list(shares) == ["bare, columns", "bare, rows", "compile, default", "compile, all rules"]
    assert shares["bare, columns"][1] == shares["bare, rows"][2] == 1
    assert all(share > 0 for row in shares.values() for share in row)
    assert memory.startswith("peak memory: ") and memory.endswith("after all contestants")


def test_a_driver_of_simulated_units_tells_dispatch_publishing_and_restart(
    tmp_path: Path, capsys: Printed
) -> None:
    sizes = ["--units", "40", "--actors", "4", "--publish-every", "10"]
    engine_scale.main([*sizes, "--folder", str(tmp_path)])

    found = json.loads(capsys.readouterr().out)
    assert found["units"] == found["restart"]["units_found"] == 40 and found["shards"] == 2
    assert found["dispatch"]["units_per_s"] >= found["dispatch"]["units_per_s_with_publishing"] > 0
    assert found["publish"]["publishes"] == 5 and found["publish"]["written_bytes_per_unit"] > 0
    assert found["reader"]["growth_mib"] >= 0 and list(tmp_path.iterdir()) == []


SMALL_LOADS = ["--images", "64", "--rounds", "1", "--seconds", "0.01", "--steps", "6"]


def test_the_loader_is_measured_beside_webdataset_and_a_bare_loop(tmp_path: Path, capsys: Printed) -> None:
    loader.main(["--photos", str(tmp_path / "none"), *SMALL_LOADS, "--processes", "0"])

    absent, _, _, _, *rows, _, training = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert absent.startswith(f"{tmp_path}/none is not a folder: no photographs")
    names = ["bare loop", "webdataset", "mixture, two threads"]
    assert [row[1] for row in cells] == names and all(int(row[2]) > 0 for row in cells)
    assert {row[1]: row[3] for row in cells}["webdataset"] == "1.00"
    assert "samples/s, waiting for data " in training and "target at most 5 %" in training


@pytest.mark.slow
def test_the_loader_with_processes_is_measured_on_photographs_too(shared_data: Path, capsys: Printed) -> None:
    """Each of its processes imports torch, and the photographs are decoded."""
    loader.main(["--photos", str(shared_data / "real_web"), *SMALL_LOADS])

    rows = [line for line in capsys.readouterr().out.splitlines() if "mixture, two processes" in line]
    assert [row.split("|")[1].strip() for row in rows] == ["tiny world, 96 px", "photographs, 320 px"]


def test_opening_a_long_view_is_measured_beside_a_whole_shuffle(capsys: Printed) -> None:
    loader_scale.main(["--rows", "4096", "--window", "1024", "--drawn", "2048"])

    found = json.loads(capsys.readouterr().out)
    assert found["rows"] == 4096 and found["peak_mb_reading"] >= found["peak_mb_before"] > 0
    assert (
        found["window_blocks"] and found["pairs_of_one_block_in_a_batch"] > found["the_same_shuffled_whole"]
    )


SMALL_MODELS = ["--device", "cpu", "--size", "128x128", "--seconds", "0"]


def test_glip_and_grounding_dino_are_measured_alike(capsys: Printed) -> None:
    for model in glip_speed.SMALL:
        glip_speed.main(["--one", f"{model},fp32,1", *SMALL_MODELS])

    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert tuple(row["model"] for row in rows) == glip_speed.SMALL
    assert all(row["images_per_s"] > 0 and row["peak_mib"] > 0 for row in rows)
    assert all(abs(sum(row["shares"].values()) - 1) < 1e-6 for row in rows)


@pytest.mark.slow
def test_each_row_of_models_is_measured_in_a_process_of_its_own(tmp_path: Path, capsys: Printed) -> None:
    """Each process imports torch and transformers: six seconds a row."""
    models, out = ",".join(glip_speed.SMALL), tmp_path / "rows.json"
    one = ["--batches", "1", "--precisions", "fp32"]
    glip_speed.main(["--models", models, *one, *SMALL_MODELS, "--out", str(out)])

    *lines, machine = capsys.readouterr().out.splitlines()
    assert tuple(row["model"] for row in json.loads(out.read_text())["rows"]) == glip_speed.SMALL
    assert all(" images/s " in line and " MiB " in line for line in lines) and "image 128x128" in machine


def test_parity_is_told_beside_its_tolerance(shared_parity: Path, capsys: Printed) -> None:
    glip_parity.main([str(shared_parity), "--variants", "tiny_a", "--dtypes", "float32"])

    head, *groups, losses, gradients = capsys.readouterr().out.splitlines()
    assert head == "tiny_a, float32" and len(groups) >= 7
    assert all(", tolerance " in line for line in groups)
    assert losses.endswith(" relative") and gradients.endswith(" relative")
