"""A picture of the top of a report, for the README: `python -m benchmarks.report_picture .demo/report.html OUT.png`.

Needs a Chromium (Debian: `sudo apt-get install chromium`).
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

WIDTH, HEIGHT = 1120, 800


def main(report: Path, picture: Path) -> None:
    """Open the report in a headless browser and keep what fits into the first screen."""
    browser_path = shutil.which("chromium") or shutil.which("chromium-headless-shell")
    if browser_path is None:
        sys.exit("no chromium on the PATH; Debian: sudo apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(report.resolve().as_uri())
        page.screenshot(path=str(picture))
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
