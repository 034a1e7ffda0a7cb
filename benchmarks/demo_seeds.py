"""The numbers of several demos, side by side: what docs/tiny_world.md shows.

    python -m benchmarks.demo_seeds .demo0 .demo1 .demo2 --to docs/tiny_world.json --page docs/tiny_world.md

Each folder is a demo that ran to its end (`groundswell demo --seed N --to FOLDER`). Runs of the same name and seed in
the file are replaced, others stay. `--page` writes the table of the whole file between the page's marks.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report_picture import results_of
from schemas.errors import NotFoundError

MODELS = ("teacher", "control", "student")
OPEN, CLOSE = "<!-- seeds -->\n", "<!-- /seeds -->\n"
GROUPS = ("head", "tail")


def main(arguments: Sequence[str] | None = None) -> None:
    """Add demos to the file, and print and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("demos", nargs="*", type=Path, help="folders of demos")
    parser.add_argument("--name", default="demo", help="what these demos have in common")
    parser.add_argument("--to", type=Path, required=True, help="JSON file of all runs")
    parser.add_argument("--page", type=Path, help="Markdown page to write the table into")
    chosen = parser.parse_args(arguments)
    known = json.loads(chosen.to.read_text(encoding="utf-8")) if chosen.to.exists() else []
    new = [numbers_of(results_of(folder / "report.html"), chosen.name) for folder in chosen.demos]
    replaced = {(run["name"], run["seed"]) for run in new}
    runs = [run for run in known if (run["name"], run["seed"]) not in replaced] + new
    runs.sort(key=lambda run: (run["name"], run["seed"]))
    chosen.to.write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")
    if chosen.page:
        chosen.page.write_text(insert_table(chosen.page.read_text(encoding="utf-8"), runs), encoding="utf-8")
    print(table(runs), end="")


def numbers_of(results: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return what the table shows of one demo, as shares in [0, 1]."""
    evaluated = results["evaluate"]
    models = {
        model: {
            **{group: evaluated["models"][model]["groups"][group]["AP"] for group in GROUPS},
            "recall_at_1": evaluated["models"][model]["recall_at"]["1"],
        }
        for model in MODELS
    }
    gains = {group: evaluated["gains"][group]["AP"] for group in GROUPS}
    seed = results["world"]["settings"]["seed"]
    return {"name": name, "seed": seed, "models": models, "gains": gains}


def table(runs: Sequence[Mapping[str, Any]]) -> str:
    """Return Markdown rows, three models a run; the interval is over the images of one seed."""
    lines = [
        "| run | seed | model | AP head | AP tail | Recall@1 | head - control | tail - control |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        for model in MODELS:
            own = run["models"][model]
            shown = [_percent(own[name]) for name in (*GROUPS, "recall_at_1")]
            gains = [_gain(run["gains"][group]) if model == "student" else "" for group in GROUPS]
            lines.append(" | ".join([f"| {run['name']} | {run['seed']}", model, *shown, *gains]) + " |")
    return "\n".join(lines) + "\n"


def insert_table(page: str, runs: Sequence[Mapping[str, Any]]) -> str:
    """Return the page with today's table between its marks. Raise NotFoundError without marks."""
    before, opened, rest = page.partition(OPEN)
    _, closed, after = rest.partition(CLOSE)
    if not (opened and closed):
        raise NotFoundError(f"the page has no marks {OPEN.strip()} and {CLOSE.strip()}: put them back")
    return before + OPEN + table(runs) + CLOSE + after


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _gain(gain: Mapping[str, float]) -> str:
    value, low, high = (100 * gain[name] for name in ("value", "low", "high"))
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


if __name__ == "__main__":
    main()
