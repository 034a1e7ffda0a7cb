"""The review page in a real browser: nothing unseen is judged, nothing is cut off, whatever picture and caption are."""

import os
import shutil
import threading
import time
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from pipelines.audit.app import serve
from pipelines.audit.sample import write_sample
from pipelines.audit.verdicts import VerdictStore
from pipelines.labels.photo import read_photo

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
def open_page(browser, tmp_path):
    """Serve a sample and open the page as the reviewer does; the browser's complaints are in `page.complaints`."""
    pages = []

    def open_page(sample, *, before=lambda page: None):
        write_sample(sample, tmp_path / "sample.json")
        addresses = []
        paths = tmp_path / "sample.json", tmp_path / "verdicts.db"
        how = {"reviewer": "ann", "announce": addresses.append}
        threading.Thread(target=serve, args=paths, kwargs=how, daemon=True).start()
        while not addresses:
            time.sleep(0.01)
        page = browser.new_page(viewport={"width": 1200, "height": 800})
        pages.append(page)
        page.complaints = []
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("dialog", lambda dialog: page.complaints.append(dialog.message))
        before(page)
        page.goto(addresses[0])
        return page

    yield open_page
    for page in pages:
        page.close()


@pytest.fixture
def page(open_page, sample, store):
    return open_page(sample)


@pytest.fixture
def said(tmp_path):
    """Return the reviewer's verdicts so far: `{position: verdict}`."""

    def said(sample):
        given = VerdictStore(tmp_path / "verdicts.db", sample).list_verdicts("ann")
        positions = {region.item: position for position, region in enumerate(sample.regions)}
        return {positions[one.item]: one.verdict for one in given}

    return said


def wait_for(page, position):
    page.wait_for_selector(f'#frame[data-position="{position}"]')


def picture(page, name):
    """Take a screenshot if the environment asks for it."""
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
    assert [one.verdict for one in store.list_verdicts("ann")] == [
        "accept",
        "reject",
        "skip",
        "accept",
        "accept",
    ]

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

    assert [one.verdict for one in store.list_verdicts("ann")] == [
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
    assert "Not saved" in page.inner_text("#trouble") and store.list_verdicts("ann") == []

    page.unroute("**/api/verdicts")
    page.keyboard.press("a")
    wait_for(page, 1)
    assert len(store.list_verdicts("ann")) == 1 and page.is_hidden("#trouble")


# What the last frame showed, as `painted`, and what it showed when each verdict was sent, as `sent`.
WATCH = """
window.sent = [];
window.painted = null;
const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
function look() {
  const [image, box] = ["#image", "rect.over"].map((name) => document.querySelector(name));
  if (!image || !image.checkVisibility() || !image.naturalWidth || !box.checkVisibility()) return null;
  canvas.drawImage(image, 0, 0, 1, 1);
  const color = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  return {color, caption: document.querySelector("#caption").textContent, x: Number(box.getAttribute("x"))};
}
requestAnimationFrame(function frame() {
  const now = look();
  setTimeout(() => { window.painted = now; });
  requestAnimationFrame(frame);
});
const send = window.fetch;
window.fetch = (path, options) => {
  if (path === "/api/verdicts") sent.push({position: JSON.parse(options.body).position, painted: window.painted});
  return send(path, options);
};
"""


def color_of(region):
    with Image.open(region.pixels.url) as picture:
        return list(picture.getpixel((0, 0)))


def numbered(n):
    return [(f"picture {number} of a moon", (120, 90), (number + 1, 5, 60, 70)) for number in range(n)]


def test_every_verdict_is_on_the_item_that_was_painted_when_the_key_fell(
    open_page, sample_of_sizes, said, monkeypatch
):
    def slow(*arguments):
        time.sleep(0.25)
        return read_photo(*arguments)

    monkeypatch.setattr("pipelines.audit.app.read_photo", slow)
    sample = sample_of_sizes(*numbered(9))
    page = open_page(sample, before=lambda page: page.add_init_script(WATCH))
    number, give_up = 0, time.monotonic() + 90
    while not page.is_visible("#end") and time.monotonic() < give_up:
        page.keyboard.press("ax"[number % 2])
        number += 1

    sent = page.evaluate("sent")
    wanted = [
        {"color": color_of(region), "caption": region.caption, "x": region.box[0]}
        for region in sample.regions
    ]
    assert [one["position"] for one in sent] == list(range(9)) == list(said(sample))
    assert [one["painted"] for one in sent] == wanted


class Held:
    """Pictures that do not come until they are released."""

    def __init__(self, page):
        self.waiting, self.released = [], False
        page.route("**/api/images/*", self.hold)

    def hold(self, route):
        if self.released:
            route.continue_()
        else:
            self.waiting.append(route)

    def release(self):
        self.released = True
        for route in self.waiting:
            route.continue_()


def press_everything_but_undo(page):
    for key in ("a", "x", " ", "A", "Enter"):
        page.keyboard.press(key)
    for name in ("accept", "reject", "skip"):
        page.click(f"#{name}", force=True)
    page.wait_for_timeout(60)


def test_keys_and_buttons_before_the_picture_is_drawn_do_nothing_and_are_not_kept_for_later(
    open_page, sample_of_sizes, said
):
    sample, held = sample_of_sizes(*numbered(4)), []
    page = open_page(sample, before=lambda page: held.append(Held(page)))
    page.wait_for_selector("#task:not([hidden])")
    press_everything_but_undo(page)
    assert said(sample) == {} and all(page.is_disabled(f"#{name}") for name in ("accept", "reject", "skip"))
    held.pop().release()
    wait_for(page, 0)
    page.wait_for_timeout(60)
    assert said(sample) == {}

    page.keyboard.press("a")
    wait_for(page, 1)
    page.click("#reject")
    wait_for(page, 2)
    held.append(Held(page))
    page.reload()
    page.wait_for_selector("#undo:enabled")
    page.keyboard.press("z")  # back to an item whose picture has to come again
    page.wait_for_selector('#count:text-is("1 of 4")')
    press_everything_but_undo(page)
    assert said(sample) == {0: "accept"}
    held.pop().release()
    wait_for(page, 1)
    page.keyboard.press("a")
    wait_for(page, 2)
    assert said(sample) == {0: "accept", 1: "accept"}


def test_an_item_that_cannot_be_shown_can_only_be_skipped_and_the_message_names_what_helps(
    open_page, sample_of_sizes, said
):
    sample = sample_of_sizes(*numbered(6))
    jpeg = BytesIO()
    Image.effect_noise((120, 90), 99).convert("RGB").save(jpeg, "JPEG")
    cut_short = {"body": jpeg.getvalue()[:-900], "content_type": "image/jpeg"}
    no_picture = {"body": "<svg onload=alert(1)>", "content_type": "image/svg+xml"}
    messages = ["does not exist", "has changed", "damaged", "damaged", "within 20 s"]
    Path(sample.regions[0].pixels.url).unlink()
    Path(sample.regions[1].pixels.url).write_bytes(jpeg.getvalue())

    def damage(page):
        page.clock.install()
        page.route("**/api/images/2", lambda route: route.fulfill(**cut_short))
        page.route("**/api/images/3", lambda route: route.fulfill(**no_picture))
        page.route("**/api/images/4", lambda route: None)  # never comes

    page = open_page(sample, before=damage)
    for position, message in enumerate(messages):
        if "within" in message:
            page.wait_for_timeout(50)
            page.clock.fast_forward(21_000)
        page.wait_for_selector("#trouble:not([hidden])")
        picture(page, f"audit-not-shown-{position}")
        for key in "ax":
            page.keyboard.press(key)
        for name in ("accept", "reject"):
            page.click(f"#{name}", force=True)
        assert len(said(sample)) == position
        assert message in page.inner_text("#trouble") and "Skip" in page.inner_text("#trouble")
        assert page.is_hidden("#image") and page.is_disabled("#accept") and page.is_disabled("#reject")
        if position == 0:
            assert "--root" in page.inner_text("#trouble")  # tests/audit/test_app.py uses it
        page.keyboard.press(" ")
        page.wait_for_selector(f'#count:text-is("{position + 1} of 6")')

    wait_for(page, 5)
    page.keyboard.press("a")
    page.wait_for_selector("#end:not([hidden])")
    assert said(sample) == {**dict.fromkeys(range(5), "skip"), 5: "accept"}


def test_a_key_on_a_focused_button_presses_that_button_once_however_long_it_is_held(
    open_page, sample_of_sizes, said
):
    sample = sample_of_sizes(*numbered(5))
    page = open_page(sample)
    wait_for(page, 0)
    page.focus("#accept")
    page.keyboard.press(" ")
    wait_for(page, 1)
    assert said(sample) == {0: "accept"} and page.evaluate("document.activeElement.id") == "accept"
    for position, (key, name) in enumerate([("Enter", "reject"), (" ", "reject"), ("a", "reject")], 1):
        page.focus(f"#{name}")
        for _ in range(6):
            page.keyboard.down(key)  # after the first, as the keyboard repeats it
            page.wait_for_timeout(25)
        page.keyboard.up(key)
        wait_for(page, position + 1)
        page.wait_for_timeout(60)
    assert said(sample) == {0: "accept", 1: "reject", 2: "reject", 3: "accept"}

    page.evaluate("document.activeElement.blur()")
    page.click("#undo")
    wait_for(page, 3)
    page.keyboard.press(" ")  # a click leaves the keys as they are
    wait_for(page, 4)
    assert said(sample)[3] == "skip"
    page.keyboard.press("z")
    wait_for(page, 3)
    page.dblclick("#accept", delay=40)
    wait_for(page, 4)
    page.wait_for_timeout(60)
    assert len(said(sample)) == 4


def test_nothing_is_judged_while_its_box_is_hidden(open_page, sample_of_sizes, said):
    sample = sample_of_sizes(*numbered(2))
    page = open_page(sample)
    wait_for(page, 0)
    page.keyboard.down("h")
    press_everything_but_undo(page)
    assert said(sample) == {} and page.is_disabled("#accept")
    page.keyboard.up("h")
    wait_for(page, 0)
    page.keyboard.press("a")
    wait_for(page, 1)
    assert said(sample) == {0: "accept"}


WINDOWS = [(1024, 600), (2560, 1440), (512, 300), (341, 200)]  # the last two: 200 % and 300 % of the first
SEEN = """() => {
  const rect = (name) => document.querySelector(name).getBoundingClientRect().toJSON();
  const [image, box, stage, caption, words] = ["#image", "rect.over", "#stage", "#caption", "#phrase"].map(rect);
  const sees = (x, y) => document.elementFromPoint(x, y)?.id === "image";
  const corners = [image.left + 1, image.right - 1].flatMap(
    (x) => [image.top + 1, image.bottom - 1].map((y) => sees(x, y)));
  const root = document.documentElement;
  const scrolls = root.scrollWidth > innerWidth || root.scrollHeight > innerHeight;
  return {image, box, stage, caption, words, corners, scrolls, wide: innerWidth, high: innerHeight};
}"""


def test_the_whole_picture_and_all_edges_of_the_box_are_visible_at_every_caption_window_and_zoom(
    open_page, sample_of_sizes
):
    words, right_to_left = "a dog runs over the green lawn ", "קמר אדום מעל אחו "
    whole, wide = (0, 0, 300, 400), (2, 1, 990, 99)
    sample = sample_of_sizes(
        ("a dog", (300, 400), whole),
        (words * 4, (300, 400), whole),
        (words * 20, (300, 400), (40, 50, 260, 400)),
        (words * 160, (300, 400), whole),
        ("x" * 5000, (300, 400), whole),
        (right_to_left * 100, (1000, 100), wide),
        (words * 8, (100, 1000), (1, 2, 99, 990)),
        (words * 8, (16, 16), (1, 1, 3, 15)),
    )
    page = open_page(sample)
    for position, region in enumerate(sample.regions):
        page.set_viewport_size({"width": 1200, "height": 800})
        wait_for(page, position)
        for width, height in [(1200, 800), *WINDOWS]:
            page.set_viewport_size({"width": width, "height": height})
            page.evaluate("new Promise((seen) => requestAnimationFrame(() => requestAnimationFrame(seen)))")
            seen = page.evaluate(SEEN)
            case = f"{len(region.caption)} characters, {region.width} x {region.height}, {width} x {height}"
            picture(page, f"audit-{len(region.caption)}-{region.width}-in-{width}")

            assert (seen["wide"], seen["high"]) == (width, height) and not seen["scrolls"], case
            image, box, stage = seen["image"], seen["box"], seen["stage"]
            assert all(seen["corners"]), case
            for name, less in (("left", 1), ("top", 1), ("right", -1), ("bottom", -1)):
                assert less * (image[name] - stage[name]) >= 3, case  # half a line of the box
                assert less * (box[name] - image[name]) >= -3.1, case
            assert image["width"] / image["height"] == pytest.approx(region.width / region.height, rel=0.02)
            assert max(image["width"], image["height"]) >= 30, case
            caption, marked = seen["caption"], seen["words"]
            assert caption["top"] <= marked["top"] + 1 < caption["bottom"] <= height, case
        page.keyboard.press(" ")
