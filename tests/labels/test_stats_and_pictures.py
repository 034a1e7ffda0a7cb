"""Looking at labels: numbers that add up, pictures of what the row says, draws that a seed repeats."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.views import write_view
from pipelines.labels.caption_strip import _assign_lanes, _format_footer, _wrap_caption
from pipelines.labels.inspect import draw_rows, draw_samples, find_rows
from pipelines.labels.picture import PALETTE, draw_picture, phrase_colors
from pipelines.labels.stats import count_labels
from pipelines.report_base import Table
from schemas.errors import ConflictError, NotFoundError

CAPTION = "a dog beside a very large lynx"
WIDTH, HEIGHT = 80, 60


def _photo(path: Path, shade: int = 40) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(np.full((HEIGHT, WIDTH, 3), shade, dtype=np.uint8)).save(sink, "PNG")
    path.write_bytes(sink.getvalue())
    return sink.getvalue()


def _row(index: int, photo: Path | None, regions: list[tuple], unit: str = "u-1") -> dict:
    """regions: (phrase, x0, y0, x1, y1, score)."""
    common = {"kind": "chunk", "groundable": True, "truncated": False}
    names = ("phrase", "x0", "y0", "x1", "y1", "score")
    extra = {"class_score": None, "quality": None, "weight": 1.0, "fate": "positive", "origin": "teacher"}
    seen = {region[0] for region in regions}
    spans = [(0, 5, "a dog", "dog"), (13, 30, "a very large lynx", "lynx")]
    phrases = [
        {
            "begin": b,
            "end": e,
            "text": t,
            "root": r,
            **common,
            "fate": "positive" if n in seen else "unresolved",
        }
        for n, (b, e, t, r) in enumerate(spans)
    ]
    return {
        "unit": unit,
        "shard": "web/00000.tar",
        "index": index,
        "key": f"k/{index}",
        "pixels": {"url": str(photo)},
        "image_sha256": hashlib.sha256(photo.read_bytes()).hexdigest() if photo else "",
        "meta": "{}",
        "width": WIDTH,
        "height": HEIGHT,
        "caption": CAPTION,
        "phrases": phrases,
        "dropped_phrases": [{"begin": 0, "end": 1, "text": "a", "code": "PH_JUNK"}],
        "regions": [dict(zip(names, region, strict=True)) | extra | {"pass_index": 0} for region in regions],
    }


def _view(tmp_path: Path, regions: list[list[tuple]]) -> str:
    photo = tmp_path / "photo.png"
    _photo(photo)
    rows = [_row(index, photo, each) for index, each in enumerate(regions)]
    write_view(str(tmp_path / "view"), rows, kind="view", provenance={})
    return str(tmp_path / "view")


def _fated(row: dict, fates: list[str]) -> dict:
    regions = [{**region, "fate": fate} for region, fate in zip(row["regions"], fates, strict=True)]
    kept = {region["phrase"] for region in regions if region["fate"] != "ignore"}
    phrases = [
        {**phrase, "fate": "positive" if number in kept else "unresolved"}
        for number, phrase in enumerate(row["phrases"])
    ]
    return {**row, "regions": regions, "phrases": phrases}


BOTH = (0, 0.0, 0.0, 60.0, 60.0, 1.0)
ONE, TWO = (0, 10.0, 10.0, 30.0, 40.0, 0.9), (1, 40.0, 10.0, 79.0, 59.0, 0.7)


# numbers


def test_statistics_are_over_all_rows_and_add_up(tmp_path: Path) -> None:
    report = count_labels(_view(tmp_path, [[ONE, TWO, (0, 0, 0, 60, 60, 1.0)], [ONE], []]))

    assert (report.samples, report.samples_with_region, report.regions) == (3, 2, 4)
    assert report.regions_per_sample == {"0": 1, "1": 1, "3": 1}
    assert (report.phrases, report.phrases_with_region) == (6, 3)
    assert report.phrase_fates == {"positive": 3, "unresolved": 3}
    assert report.box_sizes == {"small": 2, "medium": 2, "large": 0}
    assert report.dropped_phrases == {"PH_JUNK": 3}
    assert (
        sum(report.score_histogram) == 4
        and report.score_histogram[18] == 2
        and report.score_histogram[19] == 1
    )
    dog = report.top_roots[0]
    assert (dog.root, dog.phrases, dog.with_region, dog.regions) == ("dog", 3, 2, 3)
    assert dog.mean_score == pytest.approx((0.9 + 1.0 + 0.9) / 3, abs=1e-6)
    assert "lynx" in report.text() and report.data()["samples"] == 3


def test_statistics_of_a_view_count_kept_regions_apart_from_those_to_ignore(tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    _photo(photo)
    rows = [_fated(_row(0, photo, [ONE, TWO, BOTH]), ["positive", "ignore", "class_only"])]
    rows += [_fated(_row(1, photo, [TWO]), ["ignore"])]
    write_view(str(tmp_path / "view"), rows, kind="view", provenance={})

    report = count_labels(str(tmp_path / "view"))

    assert (report.regions, report.samples_with_region, report.phrases_with_region) == (4, 2, 3)
    kept = report.kept
    assert (kept.regions, kept.class_only, kept.samples_with_region, kept.phrases_with_region) == (2, 1, 1, 1)
    assert kept.regions_per_sample == {"0": 1, "2": 1}
    assert sum(kept.score_histogram) == sum(kept.box_sizes.values()) == 2
    assert report.region_fates == {"ignore": 2, "class_only": 1, "positive": 1}
    dog, lynx = report.top_roots
    assert (dog.kept, dog.with_kept_region, lynx.kept, lynx.regions) == (2, 1, 0, 2)
    assert lynx.mean_kept_score is None and dog.mean_kept_score == pytest.approx(0.95, abs=1e-6)
    lines = {" ".join(line.split()) for line in report.text().splitlines()}
    assert {"regions kept 2 of 4 (50.0 %) (1.00 per sample)", "regions to ignore 2 of 4 (50.0 %)"} <= lines
    assert (
        "regions kept, class only 1 of 2 (50.0 %)" in lines
        and "samples with a kept region 1 of 2 (50.0 %)" in lines
    )
    assert "lynx 2 0 0 2 -" in lines


def test_statistics_of_a_view_without_a_row_are_zeros(tmp_path: Path) -> None:
    report = count_labels(_view(tmp_path, []))

    assert (report.samples, report.regions, report.top_roots) == (0, 0, ())
    assert report.text().startswith("view sha256:")


def test_labels_that_are_not_there_are_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        count_labels(str(tmp_path / "nothing"))


def test_a_table_lines_numbers_up_to_the_right() -> None:
    text = Table("t", ("name", "n"), [("a", "5"), ("long name", "123")]).text()

    assert text.splitlines() == ["t", "  name         n", "  a            5", "  long name  123"]


# pictures


def test_each_box_is_drawn_in_its_phrases_color_where_the_row_says() -> None:
    row = _row(0, None, [ONE, TWO])

    picture = np.asarray(draw_picture(row, np.full((HEIGHT, WIDTH, 3), 40, dtype=np.uint8)))
    scale = 1000 / WIDTH

    for (phrase, x0, _, _, y1, _), color in zip((ONE, TWO), PALETTE, strict=False):
        edge = picture[round((y1 - 5) * scale), round(x0 * scale)]
        assert tuple(edge) == color and phrase_colors(row)[phrase] == color
    assert tuple(picture[round(50 * scale), round(20 * scale)]) == (40, 40, 40)


def test_the_same_sample_gives_the_same_picture_whatever_is_left_out() -> None:
    photo = np.full((HEIGHT, WIDTH, 3), 40, dtype=np.uint8)
    row = _row(0, None, [ONE, TWO])

    first, second = draw_picture(row, photo), draw_picture(row, photo)
    fewer = draw_picture(row, photo, most_boxes=1)

    assert first.tobytes() == second.tobytes() != fewer.tobytes()


def test_two_phrases_in_one_place_are_both_seen() -> None:
    row = _row(0, None, [ONE, (1, *ONE[1:])])

    picture = draw_picture(row, np.full((HEIGHT, WIDTH, 3), 40, dtype=np.uint8))
    colors = {color for _, color in picture.crop((110, 300, 200, 310)).getcolors(1000) or []}

    assert set(PALETTE[:2]) <= colors


@pytest.mark.parametrize("fate", ["ignore", "class_only"])
def test_a_box_that_is_not_taught_as_it_is_has_a_broken_line_and_the_strip_says_what_it_means(
    fate: str,
) -> None:
    photo = np.full((HEIGHT, WIDTH, 3), 40, dtype=np.uint8)
    plain = _row(0, None, [ONE, TWO])
    drawn = np.asarray(draw_picture(_fated(plain, ["positive", fate]), photo))
    whole = np.asarray(draw_picture(plain, photo))

    def share_of_line(picture: np.ndarray, box: tuple, color: tuple[int, int, int]) -> float:
        x, y0, y1 = (round(side * 1000 / WIDTH) for side in (box[1], box[2], box[4]))
        return float((picture[y0 + 60 : y1 - 60, x] == color).all(axis=1).mean())

    kept, other = PALETTE[:2]
    assert share_of_line(whole, ONE, kept) == share_of_line(drawn, ONE, kept) == 1
    assert share_of_line(whole, TWO, other) == 1 and 0.2 < share_of_line(drawn, TWO, other) < 0.95
    assert drawn.shape[0] > whole.shape[0]  # the legend is there, and only where it is needed


def test_the_strip_counts_boxes_to_ignore_apart_from_kept_ones() -> None:
    row = _fated(_row(0, None, [ONE, TWO, BOTH]), ["positive", "ignore", "class_only"])

    assert "2 boxes (1 class only)  ·  1 to ignore  ·  1 phrase without a box" in _format_footer(row, 0)
    assert "3 boxes" in _format_footer(_row(0, None, [ONE, TWO, BOTH]), 0)


def test_kept_boxes_are_drawn_before_those_to_ignore_whatever_their_scores() -> None:
    photo = np.full((HEIGHT, WIDTH, 3), 40, dtype=np.uint8)
    row = _fated(_row(0, None, [TWO, BOTH]), ["positive", "ignore"])
    colors = phrase_colors(row)

    picture = draw_picture(row, photo, most_boxes=1).crop((0, 0, 1000, 750))

    seen = {color for _, color in picture.getcolors(1 << 20) or []}
    assert colors[1] in seen and colors[0] not in seen


def test_a_sample_with_nothing_but_boxes_to_ignore_is_not_drawn_for_its_boxes() -> None:
    rows = [_fated(_row(0, None, [ONE]), ["ignore"]), _fated(_row(1, None, [ONE]), ["class_only"])]

    assert [row["index"] for row in draw_rows(rows, 5, 0, True)] == [1]
    assert len(draw_rows(rows, 5, 0, False)) == 2


def test_lines_hold_the_whole_caption_and_a_long_word_is_broken() -> None:
    text = "word " * 20 + "x" * 80

    lines = _wrap_caption(text, 600)

    assert [begin for begin, _ in lines] == [0, *(end for _, end in lines[:-1])]
    assert text[: lines[-1][1]] == text


def test_overlapping_phrases_have_lanes_of_their_own() -> None:
    spans = [(0, 10), (0, 4), (5, 10), (12, 15), (None, None)]

    lanes = _assign_lanes([{"begin": begin, "end": end} for begin, end in spans])

    assert lanes == {0: 0, 1: 1, 2: 1, 3: 0}


# choosing and writing


def test_a_seed_draws_the_same_samples_whatever_their_order_and_another_seed_others() -> None:
    rows = [_row(index, None, [ONE] if index % 2 else []) for index in range(60)]

    drawn = [row["index"] for row in draw_rows(rows, 8, 1, True)]

    assert drawn == [row["index"] for row in draw_rows(reversed(rows), 8, 1, True)] == sorted(drawn)
    assert drawn != [row["index"] for row in draw_rows(rows, 8, 2, True)]
    assert all(index % 2 for index in drawn)
    assert len(draw_rows(rows, 99, 1, False)) == 60


def test_samples_are_found_by_key_by_shard_and_key_and_by_unit_and_index() -> None:
    rows = [_row(index, None, []) for index in range(4)]

    chosen = find_rows(rows, ["u-1:3", "00000.tar/k/1", "k/2"])

    assert [row["index"] for row in chosen] == [3, 1, 2]
    with pytest.raises(NotFoundError, match="k/9"):
        find_rows(rows, ["k/1", "k/9"])


def test_pictures_and_their_sheet_are_written_under_safe_names(tmp_path: Path) -> None:
    report = draw_samples(_view(tmp_path, [[ONE], [], [TWO]]), tmp_path / "pictures", n=5, seed=3)

    assert list(report.pictures) == ["u-1:0", "u-1:2"]
    files = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert files == ["000-k_0.jpg", "001-k_2.jpg", "sheet.jpg"]
    with Image.open(report.sheet) as sheet:
        assert sheet.width == 2 * 640 + 3 * 12


def test_a_photograph_that_has_changed_is_not_drawn_upon(tmp_path: Path) -> None:
    view = _view(tmp_path, [[ONE]])
    _photo(tmp_path / "photo.png", shade=90)

    with pytest.raises(ConflictError, match="has changed since"):
        draw_samples(view, tmp_path / "pictures")


def test_photographs_that_moved_are_found_under_their_new_root(tmp_path: Path) -> None:
    view = _view(tmp_path, [[ONE]])
    (tmp_path / "moved").mkdir()
    (tmp_path / "photo.png").rename(tmp_path / "moved/photo.png")

    with pytest.raises(NotFoundError, match="roots"):
        draw_samples(view, tmp_path / "pictures")
    report = draw_samples(view, tmp_path / "pictures", roots={f"{tmp_path}/": f"{tmp_path}/moved/"})
    assert len(report.pictures) == 1
