"""The review page in a real browser: keys, blindness, hostile captions, 200 % zoom."""

import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from pipelines.audit.app import serve
from pipelines.audit.sample import write_sample

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser():
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    executable = next((path for name in names if (path := shutil.which(name))), None)
    if executable is None:
        pytest.skip(f"needs a browser, and none of {', '.join(names)} is installed")
    with pytest.importorskip("playwright.sync_api").sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, sample, store, tmp_path):
    """The page as the reviewer opens it; every complaint of the browser is collected in `page.complaints`."""
    write_sample(sample, tmp_path / "sample.json")
    addresses = []
    paths = tmp_path / "sample.json", tmp_path / "verdicts.db"
    how = {"reviewer": "ann", "announce": addresses.append}
    threading.Thread(target=serve, args=paths, kwargs=how, daemon=True).start()
    while not addresses:
        time.sleep(0.01)
    page = browser.new_page(viewport={"width": 1200, "height": 800})
    page.complaints = []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("dialog", lambda dialog: page.complaints.append(dialog.message))
    page.goto(addresses[0])
    yield page
    page.close()


def wait_for(page, position):
    page.wait_for_selector(f'#frame[data-position="{position}"]')


def picture(page, name):
    """A screenshot, where the environment asks for them."""
    if folder := os.environ.get("GROUNDSWELL_SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def test_a_reviewer_judges_the_whole_sample_with_four_keys(page, store, sample):
    wait_for(page, 0)
    assert "#" not in page.url  # the token
    texts = []
    for position, key in enumerate(["a", "x", " ", "a", "a"]):
        wait_for(page, position)
        texts.append(page.inner_text("body"))
        picture(page, f"audit-{position}")
        page.keyboard.press(key)
    wait_for(page, 5)
    assert [one.verdict for one in store.standing("ann")] == ["accept", "reject", "skip", "accept", "accept"]

    page.keyboard.press("z")
    wait_for(page, 4)
    page.reload()
    wait_for(page, 4)
    page.keyboard.press("x")
    wait_for(page, 5)
    assert page.inner_text("#count") == "5 of 6"
    page.click("#accept")
    page.wait_for_selector("#end:not([hidden])")
    texts.append(page.inner_text("body"))
    picture(page, "audit-end")

    assert [one.verdict for one in store.standing("ann")] == [
        "accept",
        "reject",
        "skip",
        "accept",
        "reject",
        "accept",
    ]
    assert not any("0.73" in text or "secret" in text for text in texts)
    assert "3 accepted, 2 rejected, 1 skipped." in texts[-1]
    assert page.title() == "Groundswell audit"  # the hostile caption would have changed it
    assert page.complaints == []


def test_the_box_lies_on_the_object_and_the_caption_keeps_its_order(page, sample):
    for position, region in enumerate(sample.regions):
        wait_for(page, position)
        image, box = page.locator("#image").bounding_box(), page.locator("rect.over").bounding_box()
        scale = image["width"] / region.width
        assert box["x"] - image["x"] == pytest.approx(region.box[0] * scale, abs=4)
        assert box["y"] - image["y"] == pytest.approx(region.box[1] * scale, abs=4)
        assert box["width"] == pytest.approx((region.box[2] - region.box[0]) * scale, abs=8)
        assert page.text_content("#caption") == region.caption
        assert page.text_content("#phrase") == region.text
        page.keyboard.press(" ")


def test_nothing_is_cut_off_at_200_percent_zoom(page):
    page.set_viewport_size({"width": 600, "height": 400})
    page.reload()
    wait_for(page, 0)
    picture(page, "audit-200-percent")

    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    words, keys = page.locator("#caption").bounding_box(), page.locator(".keys").bounding_box()
    assert words["y"] + words["height"] <= keys["y"]
    for name in ("accept", "reject", "skip", "undo"):
        box = page.locator(f"#{name}").bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 600


def test_a_verdict_that_was_not_kept_is_told_and_the_same_key_gives_it_once(page, store):
    wait_for(page, 0)
    page.route("**/api/verdicts", lambda route: route.abort())
    page.keyboard.press("a")
    page.wait_for_selector("#trouble:not([hidden])")
    assert "Not saved" in page.inner_text("#trouble") and store.standing("ann") == []

    page.unroute("**/api/verdicts")
    page.keyboard.press("a")
    wait_for(page, 1)
    assert len(store.standing("ann")) == 1 and page.is_hidden("#trouble")
