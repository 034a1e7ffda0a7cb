"""What decoys tell of a trained teacher, and how far that is the truth: on the tiny world, where the truth is known.

    make demo && python -m benchmarks.decoys --demo .demo --out .bench/decoys --images 300

Labels the demo's first web images twice with the demo's teacher, without decoys and with four for every image, checks
that the images' own rows are equal, and prints the share of decoys with a box beside what the scenes really hold: a
caption leaves things out, so some decoys are there.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from engine.ledger.evidence import evidence_rows
from engine.ledger.snapshots.snapshots import latest_snapshot
from engine.storage.store import open_store
from pipelines.compile.run import compile_view
from pipelines.demo.configs import make_job
from pipelines.demo.layout import DemoLayout
from pipelines.demo.recipe import Recipe
from pipelines.demo.world.lexicon import NOUNS
from pipelines.demo.world.web import TruthRow, read_truth
from pipelines.label.job import JobConfig
from pipelines.label.run import label
from pipelines.quality.intervals import estimate_share
from schemas.rows import EvidenceRow
from teacher.settings import DecoySettings

Rows = list[EvidenceRow]


def main(arguments: list[str] | None = None) -> None:
    """Label what is not labeled yet, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--demo", type=Path, required=True, help="folder of a demo that has run")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=300)
    chosen = parser.parse_args(arguments)
    places, recipe = DemoLayout(chosen.demo.resolve()), Recipe()
    job = make_job(places)
    job = job.model_copy(update={"run": job.run.model_copy(update={"executor": "local"})})
    plain = _label(job, chosen.out / "plain", chosen.images)
    truth = {(row["shard"], row["key"]): row for row in read_truth(places.world.web_truth).values()}
    decoys = DecoySettings(share=1.0, per_image=4, pool=str(_pool(chosen.out, plain)))
    asked = _label(job.model_copy(update={"decoys": decoys}), chosen.out / "asked", chosen.images)
    same = [_own(row) for row in asked] == plain
    print(
        f"{len(plain)} images; their own phrases and regions are {'equal' if same else 'NOT EQUAL'} with decoys"
    )
    report = compile_view(str(chosen.out / "asked"), recipe.policy, str(chosen.out / "view"))
    assert report.decoys is not None
    for line in (report.decoys.table().title, *map(" | ".join, report.decoys.table().rows)):
        print(line)
    _print_truth(asked, truth, recipe.policy.min_score)


def _label(job: JobConfig, out: Path, images: int) -> Rows:
    label(job, limit=images, keep=str(out))
    store = open_store(str(out))
    return list(evidence_rows(store, latest_snapshot(store)))


def _pool(folder: Path, rows: Rows) -> Path:
    """Return the world's nouns with their counts in the captions. Half of them are shapes that no general pool has."""
    counts = Counter(phrase["root"] for row in rows for phrase in row["phrases"] if phrase["root"] in NOUNS)
    path = folder / "pool.txt"
    path.write_text("".join(f"{noun}\t{counts[noun]}\n" for noun in sorted(counts)))
    return path


def _own(row: EvidenceRow) -> EvidenceRow:
    """Return the row without its decoys."""
    own = [n for n, phrase in enumerate(row["phrases"]) if phrase["kind"] != "decoy"]
    regions = [region for region in row["regions"] if region["phrase"] in own]
    return {**row, "phrases": [row["phrases"][n] for n in own], "regions": regions}


def _print_truth(rows: Rows, truth: dict[tuple[str, str], TruthRow], min_score: float) -> None:
    """Shares with a box of decoys that are in the scene and of those that are not, 95 % intervals."""
    boxed: dict[bool, list[bool]] = {True: [], False: []}
    for row in rows:
        nouns = {thing["noun"] for thing in truth[Path(row["shard"]).name, row["key"]]["things"]}
        strong = {region["phrase"] for region in row["regions"] if region["score"] >= min_score}
        for n, phrase in enumerate(row["phrases"]):
            if phrase["kind"] == "decoy" and phrase["groundable"]:
                boxed[phrase["root"] in nouns].append(n in strong)
    for there, name in ((False, "really absent"), (True, "there, and not in the caption")):
        hits, asked = sum(boxed[there]), len(boxed[there])
        found = estimate_share(hits / asked, asked) if asked else None
        limits = f"{found.value:.1%} ({found.low:.1%} to {found.high:.1%})" if found else "-"
        print(f"decoys {name}: {asked} asked, {hits} with a box, {limits}")


if __name__ == "__main__":
    main()
