"""The report page: whole, self-contained, honest, and safe from what strangers wrote."""

import errno
import os
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from pipelines.quality.decoys import DecoyNumbers
from pipelines.reporting.data import Interval
from pipelines.reporting.page import render_page, write_report
from pipelines.reporting.rendering import write_document
from pipelines.reporting.verdict import find_outcome, headline, list_sentences

_VOID = {"meta", "img", "br"}


class Balance(HTMLParser):
    """Fails on a tag that is closed out of turn; collects the page's text and addresses."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.addresses = [], "", []

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name in ("href", "src", "xlink:href")]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name in ("href", "src")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        self.text += text


def read(text):
    parser = Balance()
    parser.feed(text)
    assert parser.open == []
    return parser


def test_the_page_is_well_formed_and_the_same_data_gives_the_same_bytes(data, tmp_path):
    write_report(data, tmp_path / "a" / "report.html")
    write_report(data, tmp_path / "b.html")

    assert (tmp_path / "a" / "report.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert [entry.name for entry in (tmp_path / "a").iterdir()] == ["report.html"]
    read((tmp_path / "b.html").read_text(encoding="utf-8"))


def test_the_page_needs_nothing_but_itself(data):
    text = render_page(data)

    assert all(address.startswith("data:image/") for address in read(text).addresses)
    assert (
        "http://" not in text and "https://" not in text and "<script" not in text and "url(http" not in text
    )


def test_every_number_of_the_run_is_on_the_page(data):
    text = read(render_page(data)).text

    for number in ("2,400", "4,512", "18,400", "6,210", "33.0", "+24.0", "+18.0 to +30.0", "−1.0 to +3.0"):
        assert number in text
    found = data.audit["precision"]
    assert f"audit, {100 * found['low']:.0f} % to {100 * found['high']:.0f} %" in text
    assert "200 of 1,500 boxes reviewed" in text
    assert "truth of the tiny world, a stand-in for a person: no person reviewed" in text
    assert "groundswell audit serve runs/demo/audit" in text


@pytest.mark.parametrize(
    ("tail", "head", "expected"),
    [
        ((0.18, 0.30), (-0.01, 0.03), "won"),
        ((-0.30, -0.02), (-0.01, 0.03), "lost"),
        ((-0.05, 0.05), (-0.10, -0.02), "lost"),
        ((0.18, 0.30), (-0.10, -0.02), "mixed"),
        ((-0.05, 0.05), (-0.01, 0.03), "open"),
    ],
)
def test_the_headline_says_who_won_and_a_loss_is_called_a_loss(data, tail, head, expected):
    gains = {
        "tail": Interval(value=sum(tail) / 2, low=tail[0], high=tail[1]),
        "head": Interval(value=sum(head) / 2, low=head[0], high=head[1]),
    }
    judged = data.model_copy(update={"gains": gains})

    assert find_outcome(judged) == expected
    assert headline(judged) in render_page(judged)
    assert any("a loss" in sentence for sentence in list_sentences(judged)) == (expected in ("lost", "mixed"))


def test_a_difference_without_a_paired_interval_is_no_claim(data):
    bare = data.model_copy(update={"gains": {}})

    assert find_outcome(bare) == "open"
    assert "+24.0 points of AP; without a paired interval this is no claim." in list_sentences(bare)[0]


def test_missing_parts_are_left_out_and_missing_numbers_are_blank(data):
    rows = tuple(row.model_copy(update={"metrics": {"AP": Interval(value=None)}}) for row in data.models)
    bare = data.model_copy(
        update={
            "models": rows, "gains": {}, "examples": (), "scores": None, "thresholds": (), "curves": (),
            "audit": None, "policy": (), "timings": (), "next_commands": (), "notes": (),
        }
    )  # fmt: skip
    text = read(render_page(bare)).text

    assert "The loop" in text and "The audit" not in text and "Training" not in text
    assert "this report makes no claim" in text and "–" in text


def test_a_hostile_caption_is_text(data):
    hostile = '"><script>alert(1)</script></svg>\u202e\x00\ud800 & <b>'
    example = data.examples[0].model_copy(update={"caption": hostile})
    text = render_page(
        data.model_copy(update={"examples": (example,), "title": hostile, "notes": (hostile,)})
    )

    assert "<script" not in text and "<b>" not in text and "\x00" not in text
    text.encode("utf-8")
    assert "<script>alert(1)</script>" in read(text).text


@pytest.mark.browser
def test_a_browser_shows_the_page_without_complaint_and_without_overflow(data, tmp_path):
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    executable = next((path for name in names if (path := shutil.which(name))), None)
    if executable is None:
        pytest.skip(f"needs a browser, and none of {', '.join(names)} is installed")
    write_report(data, tmp_path / "report.html")
    folder = Path(os.environ.get("GROUNDSWELL_SCREENSHOTS", tmp_path))
    complaints = []
    with pytest.importorskip("playwright.sync_api").sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        view = browser.new_page(viewport={"width": 1180, "height": 900})
        view.on("console", lambda message: complaints.append(message.text))
        view.on(
            "request", lambda request: complaints.append(request.url) if "http" in request.url[:4] else None
        )
        view.goto((tmp_path / "report.html").as_uri())
        for scheme in ("light", "dark"):
            view.emulate_media(color_scheme=scheme)
            view.screenshot(path=str(folder / f"report-{scheme}.png"), full_page=True)
        widths = []
        for width in (1180, 420):
            view.set_viewport_size({"width": width, "height": 800})
            widths.append(view.evaluate("document.documentElement.scrollWidth"))
        browser.close()

    assert complaints == [] and widths == [1180, 420]
    shades = [Image.open(folder / f"report-{scheme}.png").convert("L") for scheme in ("light", "dark")]
    assert shades[0].getpixel((2, 2)) > 200 and shades[1].getpixel((2, 2)) < 50
    assert all(len(shade.getcolors()) > 100 for shade in shades)  # not a blank page


def test_decoys_are_shown_with_what_they_are_worth(data):
    seen = {"asked": 40, "with_box": 6, "share": 0.15, "low": 0.07, "high": 0.29}
    found = {"min_score": 0.4, "images": 10, "not_asked": 0, "all": seen, "by_frequency": {"4-7": seen}}

    shown = render_page(data.model_copy(update={"decoys": DecoyNumbers.model_validate(found)}))

    assert (
        "6 with a box at or above 0.4" in shown and "not known to be" in shown and "in 4-7 captions" in shown
    )
    assert "not known to be" not in render_page(data), "a round without decoys says nothing of them"


def test_a_full_disk_leaves_the_former_page_whole(tmp_path, monkeypatch):
    page = tmp_path / "new" / "report.html"
    write_document("the former page", page)

    def fail(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", fail)

    with pytest.raises(OSError, match=r"No space left on device.*report\.html"):
        write_document("another page", page)
    assert page.read_text() == "the former page" and list(page.parent.iterdir()) == [page]
