"""From cells to the page: the numbers of arms by seed, then the sections between the page's markers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.headline.arms import WORLDS, Arms
from benchmarks.headline.cells import Cell, CellStore
from benchmarks.headline.document import UNMEASURED, costs_table, read_cells, write_cells, write_page
from benchmarks.headline.plot import write_plot
from benchmarks.headline.rows import BASE_ARMS, FULL_ROWS
from benchmarks.headline.tables import (
    METRICS,
    NOTHING,
    Numbers,
    arms_table,
    difference_cells,
    gains_table,
    missing_list,
    seeds_table,
    table,
    verdicts,
)
from benchmarks.headline.tasks import STARTS, WAYS, Task
from benchmarks.headline.tuning import SHOWN, score
from benchmarks.headline.worker import instructions
from pipelines.demo.recipe import Recipe

BASE_CELLS, FULL_CELLS = "headline.json", "headline_full.json"
PLOT = Path("pictures", "headline.svg")
PLOT_LINK = f"![tail AP, head AP and Recall@1 of every arm and seed]({PLOT})"
_FULL_METRICS = ("tail", "head", "recall")
Targets = dict[tuple[str, str, int], Cell]  # (world, arm, seed)


@dataclass(frozen=True)
class ReportWriter:
    """The folder to which the page, the plot and the cells are written."""

    folder: Path
    page: str = "headline.md"

    @property
    def path(self) -> Path:
        """The page."""
        return self.folder / self.page

    def cells(self) -> dict[str, dict[str, Any]]:
        """Return the cells stored next to the page, by digest: those that ran with this machine's instructions."""
        here = instructions()
        return {**read_cells(self.folder / BASE_CELLS, here), **read_cells(self.folder / FULL_CELLS, here)}


def base_targets(recipe: Recipe, seeds: Sequence[int]) -> Targets:
    """Teacher, controls and student of every seed, seed by seed."""
    return {("base", arm, seed): Arms(recipe, seed).arm(arm) for seed in seeds for arm in BASE_ARMS}


def full_targets(recipe: Recipe, seeds: Sequence[int]) -> Targets:
    """Every arm that a row names, row by row."""
    wanted = dict.fromkeys(
        (row.world, arm, seed) for row in FULL_ROWS for seed in seeds for arm in (row.arm, row.against)
    )
    return {(world, arm, seed): Arms(recipe, seed, world).arm(arm) for world, arm, seed in wanted}


def task_targets(recipe: Recipe, seeds: Sequence[int]) -> Targets:
    """Return the four ways of tuning from teacher and student."""
    return {
        ("task", f"{start}, {way}", seed): Task(Arms(recipe, seed)).arm(start, way)
        for seed in seeds
        for start in STARTS
        for way in WAYS
    }


def numbers_of(store: CellStore, targets: Targets, world: str) -> Numbers:
    """Return the numbers of a world that are done, by arm and seed."""
    found: dict[str, dict[int, Mapping[str, float]]] = {}
    for (where, arm, seed), cell in targets.items():
        if where == world and (result := store.result(cell)) is not None:
            found.setdefault(arm, {})[seed] = result
    return found


def write_base(writer: ReportWriter, store: CellStore, targets: Targets, seeds: Sequence[int]) -> str:
    """Write the headline's sections, plot and cells. Return the text of its tables."""
    numbers = numbers_of(store, targets, "base")
    text = "\n\n".join(
        part
        for part in (
            PLOT_LINK,
            arms_table(numbers, BASE_ARMS, seeds),
            gains_table(numbers, seeds),
            verdicts(numbers, seeds),
            *(seeds_table(numbers, BASE_ARMS, seeds, metric) for metric in ("tail", "head")),
            missing(store, targets),
        )
        if part
    )
    write_page(
        writer.path, {"base": text if numbers else UNMEASURED, "costs": costs(store, targets.values())}
    )
    write_cells(writer.folder / BASE_CELLS, store, targets.values())
    if numbers:
        write_plot(writer.folder / PLOT, numbers, BASE_ARMS)
    return text


def write_full(writer: ReportWriter, store: CellStore, targets: Targets, seeds: Sequence[int]) -> str:
    """Write the full table, the tasks' table and the cells. Return the text of both."""
    by_world = {world: numbers_of(store, targets, world) for world in (*WORLDS, "task")}
    names = [METRICS[metric] for metric in _FULL_METRICS]
    head = ["row", "against", *names, *(f"{name}, difference" for name in names), "seeds"]
    rows = [
        [
            row.title,
            f"{row.against}{_same(targets, row.world, row.arm, row.against)}",
            *difference_cells(by_world[row.world], row.arm, row.against, _FULL_METRICS, seeds),
        ]
        for row in FULL_ROWS
    ]
    text = "\n\n".join(filter(None, [table(head, rows), missing(store, targets)]))
    sections = {"full": text, "task": task_table(by_world["task"], seeds)}
    write_page(writer.path, sections)
    write_cells(writer.folder / FULL_CELLS, store, targets.values())
    return "\n\n".join(sections.values())


def _same(targets: Targets, world: str, arm: str, against: str) -> str:
    """Return a note for a row whose two arms are one run, because its switch has that value already."""
    pairs = [
        (cell.digest, targets[world, against, seed].digest)
        for (where, name, seed), cell in targets.items()
        if (where, name) == (world, arm)
    ]
    return " (the same run)" if pairs and all(a == b for a, b in pairs) else ""


def task_table(numbers: Numbers, seeds: Sequence[int]) -> str:
    """AP on the new task by start and way of tuning."""
    head = ["start", *(way.replace("_", " ") for way in WAYS)]
    rows = []
    for start in STARTS:
        cells = []
        for way in WAYS:
            values = [found["AP"] for found in numbers.get(f"{start}, {way}", {}).values()]
            mean = f"{100 * sum(values) / len(values):.1f}" if values else NOTHING
            cells.append(f"{mean} ({len(values)} of {len(seeds)})")
        rows.append([start, *cells])
    return table(head, rows)


def missing(store: CellStore, targets: Targets) -> str:
    """Every target that is not done, with its reason."""
    return missing_list(
        f"{cell.title}: {store.why_missing(cell)}" for cell in targets.values() if store.record(cell) is None
    )


def costs(store: CellStore, cells: Iterable[Cell]) -> str:
    """CPU seconds by kind of cell."""
    rows = [[kind, str(count), f"{mean:.0f}"] for kind, count, mean in costs_table(store, cells)]
    return table(["cell", "done", "CPU-s each"], rows) if rows else UNMEASURED


def write_tuning(writer: ReportWriter, tuned: Path) -> str:
    """Write the section of the tuning runs from `tuned.json`. Return its text."""
    record = json.loads(tuned.read_text(encoding="utf-8"))
    rows = [
        [arm, option + " **chosen**" * (record["chosen"][arm] == option), *_tuning_cells(row)]
        for arm, options in record["options"].items()
        for option, row in options.items()
    ]
    text = table(["arm", "option", *map(_number_title, SHOWN), "AP + Recall@1", "seeds"], rows)
    write_page(writer.path, {"tuning": text})
    return text


def _number_title(number: str) -> str:
    return METRICS.get(number, "AP of all nouns")


def _tuning_cells(row: Mapping[str, Any]) -> list[str]:
    """Means over the seeds that are done; the sum by which is chosen, once all are."""
    by_seed = row["by_seed"].values()
    found = [numbers for numbers in by_seed if numbers is not None]
    count = f"{len(found)} of {len(by_seed)}"
    if not found:
        return [*[NOTHING] * len(SHOWN), NOTHING, count]
    means = [f"{100 * sum(one[name] for one in found) / len(found):.1f}" for name in SHOWN]
    return [*means, f"{100 * score(row):.1f}" if len(found) == len(by_seed) else NOTHING, count]
