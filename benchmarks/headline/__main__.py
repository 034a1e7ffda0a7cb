"""The command line of the headline: run what is missing, then write the tables from what is done.

    python -m benchmarks.headline base --seeds 11,12 --until 30

Ends with 0 when every cell is done, with 1 when some are missing: the tables then say which.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.headline.cells import Cell, CellStore
from benchmarks.headline.grid import Grid
from benchmarks.headline.report import (
    ReportWriter,
    Targets,
    base_targets,
    full_targets,
    task_targets,
    write_base,
    write_full,
    write_tuning,
)
from benchmarks.headline.tuning import ORDER, PATH, SEEDS, after, options, tuned, write_choice
from pipelines.demo.recipe import Recipe

BASE_SEEDS = tuple(range(11, 19))
FULL_SEEDS = BASE_SEEDS[:3]
_SEEDS = {"base": BASE_SEEDS, "full": FULL_SEEDS, "tune": SEEDS}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and write; returns the exit status."""
    chosen = _parser().parse_args(arguments)
    seeds = chosen.seeds or _SEEDS[chosen.what]
    recipe = Recipe.quick() if chosen.quick else Recipe()
    reported = not chosen.quick and (chosen.report or tuple(seeds) == _SEEDS[chosen.what])
    if reported and chosen.what != "tune" and set(seeds) & set(SEEDS):
        sys.exit(f"seeds {sorted(set(seeds) & set(SEEDS))} are for tuning: they are never reported")
    writer = ReportWriter(Path("docs") if reported else chosen.out)
    store = CellStore(chosen.out, writer.cells() if chosen.kept else {})
    grid = Grid(store, chosen.workers, chosen.until and 60 * chosen.until, _say)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    if chosen.what == "tune":
        path = PATH if reported else chosen.out / PATH.name
        done, text = _tune(recipe, seeds, grid, writer, chosen, path)
    else:
        done, text = _measure(tuned(recipe), seeds, grid, writer, chosen)
    print(text)
    _say(f"the tables stand in {writer.path}" + ("" if done else "; run again for what is missing"))
    return 0 if done else 1


def _measure(
    recipe: Recipe, seeds: Sequence[int], grid: Grid, writer: ReportWriter, chosen: argparse.Namespace
) -> tuple[bool, str]:
    base = chosen.what == "base"
    targets = base_targets(recipe, seeds) if base else full_targets(recipe, seeds)
    if not base:
        targets |= task_targets(recipe, seeds)
    wanted = _wanted(targets, chosen.only)
    if chosen.kept:
        kept = sum(cell.digest in grid.store.kept for cell in targets.values())
        _say(f"{kept} of {len(targets)} evaluations stand beside the page, by this code and such a processor")
    done = grid.run(wanted) if chosen.run else not grid.store.missing(wanted)
    write = write_base if base else write_full
    return done, write(writer, grid.store, targets, seeds)


def _wanted(targets: Targets, names: Sequence[str]) -> list[Cell]:
    """Return the targets of these arms and worlds, or all. Exit for a name that is neither."""
    known = {name for world, arm, _ in targets for name in (world, arm)}
    if other := sorted(set(names) - known):
        sys.exit(f"--only {', '.join(other)}: expected any of {', '.join(sorted(known))}")
    return [cell for (world, arm, _), cell in targets.items() if not names or {world, arm} & set(names)]


def _tune(
    recipe: Recipe,
    seeds: Sequence[int],
    grid: Grid,
    writer: ReportWriter,
    chosen: argparse.Namespace,
    path: Path,
) -> tuple[bool, str]:
    first: Recipe | None = recipe
    for arm in ORDER if chosen.run else ():
        if first is None:
            break
        if not chosen.only or arm in chosen.only:
            grid.run(list(options(first, arm, seeds).values()))
        first = after(first, arm, grid.store, seeds)
    done = write_choice(recipe, grid.store, seeds, path)
    return done, write_tuning(writer, path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        __package__, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("base", "full", "tune"))
    parser.add_argument("--seeds", type=_numbers, help="in place of the reported ones; docs/ stays as it is")
    parser.add_argument("--report", action="store_true", help="write docs/ with these seeds all the same")
    parser.add_argument(
        "--only",
        type=lambda text: tuple(text.split(",")),
        default=(),
        help="what to run: any of these arms and worlds",
    )
    parser.add_argument("--until", type=float, metavar="MINUTES", help="then stop; the next call goes on")
    parser.add_argument("--workers", type=int, default=2, help="cells at a time, one thread each")
    parser.add_argument("--out", type=Path, default=Path(".bench/headline"))
    parser.add_argument(
        "--kept", action="store_true", help="evaluations in the page's JSON files count as done"
    )
    parser.add_argument("--quick", action="store_true", help="a world too small for its numbers to mean much")
    parser.add_argument(
        "--tables", dest="run", action="store_false", help="run nothing, write the tables from what is done"
    )
    return parser


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
