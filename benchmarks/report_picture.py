"""The README's picture and numbers, all of one demo: the top of its report, and what it printed.

    python -m benchmarks.report_picture .demo/report.html docs/pictures/report.png --readme README.md

The picture carries the numbers of its run and a digest of its own pixels as PNG text. `--readme` writes the same
numbers into the block after "## What they print". tests/docs/test_picture.py compares them. Needs a Chromium (Debian:
`sudo apt-get install chromium`).
"""

from __future__ import annotations

import argparse
import io
import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from benchmarks.inputs import existing_file
from pipelines.demo.findings import format_summary, read_gains
from pipelines.demo.layout import DemoLayout
from pipelines.demo.results import DemoResults
from pipelines.demo.run import TITLES
from pipelines.reporting.verdict import JUDGED, describe_gain
from pipelines.steps.cache import STEPS_FOLDER
from schemas.errors import ConflictError, NotFoundError

WIDTH, HEIGHT = 1120, 800
SHOWN_FOLDER = ".demo"  # where `make demo` puts it
PRINTED, PIXELS, WORLD = "printed", "pixels_sha256", "world"
_BLOCK = re.compile(r"(^## What they print\n+```\n)(.*?)(^```$)", re.M | re.S)


def main(arguments: Sequence[str] | None = None) -> None:
    """Open the report in a headless browser, keep what fits into the first screen, and what the demo printed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("report", type=existing_file("the report.html of a demo that has run"))
    parser.add_argument("picture", type=Path, help="a PNG file")
    parser.add_argument("--readme", type=existing_file("a README"), help="write the numbers there, too")
    chosen = parser.parse_args(arguments)
    results = results_of(chosen.report)
    pixels = screenshot(chosen.report, list_sentences(results))
    printed = format_block(results)
    write_picture(chosen.picture, pixels, printed, results["world"]["settings"])
    if chosen.readme:
        write_block(chosen.readme, printed)
    print(printed, end="")


def results_of(report: Path) -> DemoResults:
    """Load the results of a demo's steps. Raise ConflictError if the report is not the one that its last step wrote."""
    folder = report.parent / STEPS_FOLDER
    try:
        records = {name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in TITLES}
    except FileNotFoundError as error:
        raise NotFoundError(
            f"{error.filename} does not exist: give the report of a demo that ran to its end"
        ) from None
    digest = sha256(report.read_bytes()).hexdigest()
    if records["report"]["files"].get(report.name) != digest:
        raise ConflictError(f"{report} (sha256 {digest[:12]}) is not what the demo wrote: run the demo again")
    return cast(DemoResults, {name: record["result"] for name, record in records.items()})


def list_sentences(results: DemoResults) -> list[str]:
    """Return the sentences on student and control; report and terminal show the same."""
    gains = read_gains(results["evaluate"])
    return [describe_gain(name, gains[name]) for name in JUDGED if name in gains]


def format_block(results: DemoResults) -> str:
    """Return what `make demo` prints of these results, without progress and the commands to run next."""
    steps = [f"[{number}/{len(TITLES)}] {title}" for number, title in enumerate(TITLES.values(), 1)]
    summary = format_summary(DemoLayout(Path(SHOWN_FOLDER)), results).split("\nnext:\n")[0]
    return "\n".join([*steps, summary]) + "\n"


def screenshot(report: Path, sentences: Sequence[str]) -> bytes:
    """Return a PNG of the report's first screen. Raise ConflictError if the report does not show these sentences."""
    from playwright.sync_api import sync_playwright

    browser_path = shutil.which("chromium") or shutil.which("chromium-headless-shell")
    if browser_path is None:
        sys.exit("no chromium on the PATH; Debian: sudo apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(report.resolve().as_uri())
        text = page.inner_text("body")
        png = bytes(page.screenshot())
        browser.close()
    for shown in sentences:
        if shown not in text:
            raise ConflictError(f"{report} does not show {shown!r}, which its demo found: run the demo again")
    return png


def write_picture(path: Path, png: bytes, printed: str, world: Mapping[str, Any]) -> None:
    """Write the picture with the run's numbers, the world's settings and a digest of the pixels in it."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    about = PngInfo()
    about.add_itxt(PRINTED, printed)
    about.add_itxt(WORLD, json.dumps(world, sort_keys=True))
    about.add_itxt(PIXELS, pixels_digest(image))
    image.save(path, pnginfo=about, optimize=True)


def pixels_digest(image: Image.Image) -> str:
    """Return the sha256 of the decoded pixels, so that a file packed anew keeps it."""
    return sha256(image.convert("RGB").tobytes()).hexdigest()


def block_of(readme: Path) -> str:
    """Return the block of a README that shows what the demo prints. Raise NotFoundError if there is none."""
    return _block(readme, readme.read_text(encoding="utf-8"))[2]


def write_block(readme: Path, printed: str) -> None:
    """Replace that block."""
    text = readme.read_text(encoding="utf-8")
    found = _block(readme, text)
    readme.write_text(text[: found.start(2)] + printed + text[found.end(2) :], encoding="utf-8")


def _block(readme: Path, text: str) -> re.Match[str]:
    found = _BLOCK.search(text)
    if found is None:
        raise NotFoundError(f'{readme} has no block of ``` right after "## What they print": put it back')
    return found


if __name__ == "__main__":
    main()
