"""Every file of ../shared/data/nasty and foreign_shards through the real `label` path, in a process of its own.

`python -m tests.reading.hostile_world DATA FOLDER` prints one JSON object: `outcomes` by file, and `grown_mib`, the
growth of the process's peak memory after its imports and a first small job. An outcome is what the ledger records of a
file: the counted outcomes of its samples (`kept`, with a box or without, or a code), or the code of its shard.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from engine.ledger.evidence import read_evidence, read_rejections
from engine.ledger.snapshots.snapshots import latest_snapshot, snapshot_entries
from engine.storage.store import open_store
from pipelines.label.run import label
from tests.engine.worlds import job_of, picture, plain_captions, tar_bytes, write_shard
from tests.reading.calm_teacher import CALM

CAPTION = b"a red patch"
NO_INPUT = ("LICENSE", "LICENSE.txt", "LICENSE-MIT", "README.txt", "nemo-curator_00000.idx")


def all_outcomes(data: Path, folder: Path) -> dict[str, str]:
    """Return the outcomes by path relative to `data`."""
    tars = [*_files(data / "nasty" / "tar"), *_files(data / "foreign_shards", ".tar", ".tgz")]
    tables = [*_files(data / "nasty" / "parquet"), *_files(data / "foreign_shards", ".parquet")]
    images = list(_files(data / "nasty" / "images"))
    found = {**_shards(tars, folder / "tars"), **_shards(tables, folder / "tables", format="parquet")}
    found |= _samples({path: _with_caption(path) for path in images}, folder / "images")
    found |= _samples({path: _as_json(path) for path in _files(data / "nasty" / "json")}, folder / "json")
    found |= _captions(data / "nasty" / "captions", folder / "captions")
    return {str(path.relative_to(data)): outcome for path, outcome in sorted(found.items())}


def _files(folder: Path, *endings: str) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in NO_INPUT and (not endings or path.name.endswith(endings)):
            yield path


def _shards(paths: list[Path], folder: Path, **section: Any) -> dict[Path, str]:
    """Run one job over the files, each of which is a shard."""
    label(_job(folder, paths, **section), factories=CALM)
    store = open_store(str(folder / "out"))
    snapshot = latest_snapshot(store)
    found = {Path(failed.shard): failed.code for failed in snapshot.failed}
    for path in set(paths) - found.keys():
        entries = [entry for entry in snapshot_entries(store, snapshot) if Path(entry.shard) == path]
        fates = Counter[str]()
        for entry in entries:
            fates += Counter(entry.counts.rejected)
            fates["kept"] += entry.counts.labelled + entry.counts.empty
        assert fates.total() == sum(entry.counts.samples_in for entry in entries), path
        found[path] = written(fates)
    assert found.keys() == set(paths)
    return found


def _samples(samples: dict[Path, list[tuple[str, bytes]]], folder: Path) -> dict[Path, str]:
    """Run one job over a shard that has a sample per file."""
    folder.mkdir(parents=True)
    members = [(f"{n:05d}{name}", data) for n, parts in enumerate(samples.values()) for name, data in parts]
    (folder / "packed.tar").write_bytes(tar_bytes(members))
    fates = _fates(folder)
    assert len(fates) == len(samples)
    return dict(zip(samples, (f"1 {fate}" for fate in fates), strict=True))


def _captions(folder: Path, work: Path) -> dict[Path, str]:
    """Make each caption a sample, and count by the file and the kind of caption."""
    groups = list(caption_groups(folder))
    work.mkdir(parents=True)
    image = picture()
    members = [
        (f"{n:05d}{name}", data)
        for n, (_, caption) in enumerate(groups)
        for name, data in ((".png", image), (".txt", caption))
    ]
    (work / "packed.tar").write_bytes(tar_bytes(members))
    counts: dict[Path, Counter[str]] = {}
    for (path, _), fate in zip(groups, _fates(work), strict=True):
        counts.setdefault(path, Counter())[fate] += 1
    return {path: written(fates) for path, fates in counts.items()}


def caption_groups(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield (file, or file/kind, caption)."""
    yield from ((folder / "blns.txt", line) for line in (folder / "blns.txt").read_bytes().split(b"\n"))
    texts = json.loads((folder / "blns.json").read_text())
    yield from ((folder / "blns.json", text.encode("utf-8", "surrogatepass")) for text in texts)
    for kind, captions in json.loads((folder / "laion_odd_captions.json").read_text()).items():
        yield from ((folder / "laion_odd_captions.json" / kind, text.encode()) for text in captions)


def _fates(folder: Path) -> list[str]:
    """Return the outcomes of the samples of `packed.tar`, in order."""
    label(_job(folder, [folder / "packed.tar"]), factories=CALM)
    store = open_store(str(folder / "out"))
    fates: dict[int, str] = {}
    for entry in snapshot_entries(store, latest_snapshot(store)):
        for row in read_evidence(store, entry).to_pylist():
            fates[row["index"]] = "kept"
        for row in read_rejections(store, entry).to_pylist():
            fates[row["index"]] = row["code"]
    assert sorted(fates) == list(range(len(fates)))
    return [fates[index] for index in sorted(fates)]


def _job(folder: Path, urls: Iterable[Path], **section: Any) -> Any:
    folder.mkdir(parents=True, exist_ok=True)
    section |= {"unit_samples": 64}
    return job_of(folder, list(urls), input=section, run={"batch_size": 1})


def _with_caption(path: Path) -> list[tuple[str, bytes]]:
    return [(".jpg", path.read_bytes()), (".txt", CAPTION)]


def _as_json(path: Path) -> list[tuple[str, bytes]]:
    return [(".png", picture()), (".txt", CAPTION), (".json", path.read_bytes())]


def written(fates: Counter[str]) -> str:
    """Format counts as `3 IMG_SIZE, 12 kept`; `no samples` for none."""
    return ", ".join(f"{count} {fate}" for fate, count in sorted(fates.items()) if count) or "no samples"


def peak_mib() -> float:
    """Return the peak memory of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def main(data: Path, folder: Path) -> None:
    write_shard(folder / "warm.tar", plain_captions(8))
    label(_job(folder / "warm", [folder / "warm.tar"]), factories=CALM)
    before, begun = peak_mib(), time.perf_counter()
    outcomes = all_outcomes(data, folder)
    spent = time.perf_counter() - begun
    print(json.dumps({"outcomes": outcomes, "grown_mib": peak_mib() - before, "seconds": spent}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
