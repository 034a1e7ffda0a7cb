"""A cell is known by what decides its result, and only what is missing runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.headline import sources
from benchmarks.headline.__main__ import BASE_SEEDS, FULL_SEEDS
from benchmarks.headline.cells import Cell, CellStore, in_order
from benchmarks.headline.sources import ROOT, SOURCES
from benchmarks.headline.stages import STAGES
from benchmarks.headline.tuning import OPTIONS, SEEDS
from benchmarks.headline.worker import run_spec, spec_of


def web(seed: int, title: str = "web", images: int = 3) -> Cell:
    return Cell("web", title, {"seed": seed, "web_images": images})


def test_the_digest_knows_settings_and_inputs_and_no_title() -> None:
    shuffled = {"captions": "shuffled", "seed": 1}

    assert web(1, "a title").digest == web(1, "another").digest
    assert web(1).digest != web(2).digest
    first, second = (Cell("recaptioned", "x", shuffled, {"web": web(seed)}) for seed in (1, 2))
    assert first.digest != second.digest


def test_code_counts_and_comments_do_not(tmp_path: Path) -> None:
    def digest(text: str) -> str:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.py"
        path.write_text(text)
        return sources._digest(path)

    plain = digest("def f():\n    return 1\n")

    assert digest('"""New."""\ndef f():\n    """Says more."""\n    return 1  # so\n') == plain
    assert digest("def f():\n    return 2\n") != plain


def test_every_kind_of_cell_has_a_stage_and_its_sources_exist() -> None:
    assert SOURCES.keys() == STAGES.keys()
    gone = [p for patterns in SOURCES.values() for p in patterns if not list(ROOT.glob(p))]
    assert gone == []


def test_what_reads_a_view_depends_on_the_form_of_its_manifest() -> None:
    with_views = {kind: patterns for kind, patterns in SOURCES.items() if "engine/views.py" in patterns}

    assert with_views
    assert [kind for kind, patterns in with_views.items() if "engine/view_manifest.py" not in patterns] == []


def test_inputs_come_first_and_each_cell_once() -> None:
    first, second = web(1), web(1, "again")

    order = in_order([Cell("changed_view", "x", {}, {"web": first, "view": second}), second])

    assert [cell.kind for cell in order] == ["web", "changed_view"]


def test_what_only_a_done_cell_needs_is_not_missing(tmp_path: Path) -> None:
    store = CellStore(tmp_path)
    source = web(1)
    target = Cell("recaptioned", "shuffled", {"captions": "shuffled", "seed": 1}, {"web": source})
    assert store.missing([target]) == [source, target]
    for cell in (source, target):
        run_spec(spec_of(cell, store))

    (store.folder(source) / "cell.json").unlink()

    assert store.missing([target]) == []


def test_a_kept_result_stands_for_an_evaluation_and_not_for_a_folder_that_others_read(tmp_path: Path) -> None:
    source, target = web(1), Cell("evaluate", "x", {}, {"model": web(2)})
    kept = {cell.digest: {"digest": cell.digest, "cpu_s": 1.0, "result": {}} for cell in (source, target)}

    store = CellStore(tmp_path, kept)

    assert store.missing([target, source]) == [source]
    assert store.load_record(source) == kept[source.digest] and store.result(target) == {}


def test_a_record_of_another_digest_is_no_record(tmp_path: Path) -> None:
    store, cell = CellStore(tmp_path), web(1)
    run_spec(spec_of(cell, store))
    record = store.folder(cell) / "cell.json"
    record.write_text(record.read_text().replace(cell.digest, "sha256:0"))

    assert store.record(cell) is None


def test_a_failed_cell_says_why_and_so_does_what_needs_it(tmp_path: Path) -> None:
    store = CellStore(tmp_path)
    broken = Cell("web", "bad web", {"seed": 1, "web_images": -1})
    needing = Cell("recaptioned", "shuffled", {"captions": "shuffled", "seed": 1}, {"web": broken})

    with pytest.raises(ValueError, match="web_images"):
        run_spec(spec_of(broken, store))

    assert store.record(broken) is None
    assert store.why_missing(needing).startswith("bad web failed: ")
    assert store.why_missing(web(2)) == "not run"


def test_no_reported_seed_is_a_tuning_seed_and_both_arms_have_as_many_options() -> None:
    assert len(set(BASE_SEEDS)) == 8 and len(set(FULL_SEEDS)) == 3
    assert not (set(BASE_SEEDS) | set(FULL_SEEDS)) & ({0, 1, 2} | set(SEEDS))
    assert len({len(some) for some in OPTIONS.values()}) == 1
