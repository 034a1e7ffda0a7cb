"""Gold with the paths of other machines and tools: import and evaluation find the same image, or say what helps."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.storage.store import open_store
from engine.views import open_view
from pipelines.exchange.gold.images import open_images
from schemas.errors import ConfigError, GroundswellError, NotFoundError
from student.evaluate.gold.images import evaluation_images
from student.evaluate.gold.load import read_gold
from student.evaluate.run import evaluate


def coco(*names: str) -> dict:
    """Make a file with a box in each image."""
    return {
        "images": [{"id": n, "file_name": name, "width": 64, "height": 48} for n, name in enumerate(names)],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 1, "bbox": [0, 0, 5, 5]} for n in range(len(names))
        ],
        "categories": [{"id": 1, "name": "dog"}],
    }


@pytest.fixture
def find_images(
    tmp_path: Path, imported: Callable
) -> Callable[..., tuple[set[str], set[str], dict[str, int]]]:
    """Return files that import and evaluation find for names, and the codes of the import's images."""

    def find(*names: str, images: str | None = None) -> tuple[set[str], set[str], dict[str, int]]:
        root = tmp_path / "images"
        source = f"{root}{images or ''}"
        try:
            report, rows = imported("coco", coco(*names), images=open_images(source))
            codes, urls = report.records["images"]["codes"], {row["pixels"]["url"] for row in rows}
        except GroundswellError as error:
            codes, urls = {str(error): 1}, set()
        (tmp_path / "gold.json").write_text(json.dumps(coco(*names)))
        records = read_gold(tmp_path / "gold.json")["images"]
        try:
            evaluated = {image.name for image in evaluation_images(source, records)}
        except ConfigError as error:
            evaluated = {str(error)}
        return {str(Path(url).relative_to(root)) for url in urls}, evaluated, codes

    return find


@pytest.mark.parametrize(
    "name",
    [
        "C:\\data\\train\\one.jpg",
        "\\\\server\\share\\one.jpg",
        "/home/someone/one.jpg",
        "file:///home/someone/one.jpg",
        "https://host/files/one.jpg?w=640#a",
        "one",
        "one.JPG",
        "ONE.jpeg",
    ],
)
def test_the_only_file_with_a_foreign_names_last_part_is_taken_and_counted(
    find_images: Callable, picture: Callable, name: str
) -> None:
    picture("sub/one.jpg")
    picture("sub/two.jpg")

    assert find_images(name) == ({"sub/one.jpg"}, {name}, {"found_by_name": 1})


def test_a_name_that_two_files_have_is_refused_with_the_option_that_helps(
    find_images: Callable, picture: Callable
) -> None:
    picture("a/one.jpg")
    picture("b/one.jpg")
    picture("two.jpg")

    files, (told,), codes = find_images("/x/one.jpg", "two.jpg")

    assert files == {"two.jpg"} and codes == {"image_ambiguous": 1}
    assert "a/one.jpg, b/one.jpg" in told and "--images 'DIR/{stem}.jpg'" in told
    assert find_images("/x/b/one.jpg", "two.jpg")[0] == {"b/one.jpg", "two.jpg"}


def test_two_names_that_find_one_file_make_a_problem_and_not_two_labels_of_one_image(
    tmp_path: Path, find_images: Callable, picture: Callable
) -> None:
    picture("one.jpg")

    files, (told,), codes = find_images("C:\\a\\one.jpg", "C:\\b\\one.jpg")
    (problem,) = open_view(str(tmp_path / "gold-0")).manifest.provenance["problems"]

    assert files == {"one.jpg"} and codes == {"found_by_name": 1, "image_ambiguous": 1}
    assert "is another; name the folder in which both are" in problem
    assert "another name found the same image" in told


def test_a_pattern_takes_the_last_part_of_a_path_that_leaves_the_folder(
    find_images: Callable, picture: Callable
) -> None:
    picture("sub/1.5.jpg")

    assert find_images("../x/1.5.jpg", images="/sub/{stem}.jpg") == ({"sub/1.5.jpg"}, {"../x/1.5.jpg"}, {})
    assert find_images("C:\\x\\1.5.jpg", images="/{file_name}")[1] == set()
    assert find_images("C:\\x\\sub\\1.5.jpg", images="/{file_name}")[0] == {"sub/1.5.jpg"}
    assert find_images("frame.1.5", images="/sub/{stem}.jpg")[1] == set()
    assert find_images("1.5", images="/sub/{stem}.jpg")[0] == {"sub/1.5.jpg"}


def test_a_name_with_two_dots_is_refused_and_a_pattern_is_named(
    find_images: Callable, picture: Callable
) -> None:
    picture("one.jpg")

    files, (told,), codes = find_images("../one.jpg", "one.jpg")

    assert files == {"one.jpg"} and codes == {"file_name_unsafe": 1}
    assert "leaves the folder" in told and "--images 'DIR/{stem}.jpg'" in told


def test_a_link_out_of_the_folder_is_never_followed(
    tmp_path: Path, find_images: Callable, picture: Callable
) -> None:
    inside = picture("pool/one.jpg")
    outside = tmp_path / "secret.jpg"
    outside.write_bytes(inside.read_bytes())
    (tmp_path / "images" / "out.jpg").symlink_to(outside)
    (tmp_path / "images" / "away").symlink_to(tmp_path)
    (tmp_path / "images" / "in.jpg").symlink_to(inside)

    assert find_images("in.jpg")[:2] == ({"in.jpg"}, {"in.jpg"})
    assert find_images("/x/secret.jpg", "in.jpg")[2] == {"image_missing": 1}
    for name in ("out.jpg", "away/secret.jpg"):
        files, (told,), codes = find_images(name, "in.jpg")
        assert files == {"in.jpg"} and codes == {"image_outside": 1}
        assert "name the folder to which it leads" in told


def test_an_absolute_path_below_the_folder_is_exactly_that_file(
    tmp_path: Path, find_images: Callable, picture: Callable
) -> None:
    picture("a/one.jpg")
    there = str(picture("one.jpg"))

    assert find_images(there) == ({"one.jpg"}, {there}, {})


def test_a_missing_image_is_named_with_the_option_that_helps(
    tmp_path: Path, find_images: Callable, picture: Callable
) -> None:
    picture("two.jpg")

    assert find_images("gone.jpg", "two.jpg")[1:] == ({"two.jpg"}, {"image_missing": 1})
    ((message, _),) = find_images("gone.jpg")[2].items()
    assert "e.g. 0: gone.jpg (no image under that name in --images" in message
    assert "--images 'DIR/{stem}.jpg'" in message


def test_a_pattern_that_names_one_image_for_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"same path for several images; expected \{file_name\} or \{stem\}"
    ):
        open_images(str(tmp_path / "{split}.jpg"))


def test_images_of_a_remote_folder_are_found_by_the_same_rule(tmp_path: Path, picture: Callable) -> None:
    store = open_store("memory://gold-paths")
    data = picture("one.jpg").read_bytes()
    for path in ("sub/one.jpg", "a/two.jpg", "b/two.jpg"):
        store.put(path, data)
    names = ["https://host/one.JPEG", "sub/one.jpg", "memory://gold-paths/a/two.jpg"]
    (tmp_path / "gold.json").write_text(json.dumps(coco(*names)))
    records = read_gold(tmp_path / "gold.json")["images"]
    images = open_images("memory://gold-paths")

    places = [images.find(name, {}).pixels["url"] for name in names]

    assert places == [f"memory://gold-paths/{path}" for path in ("sub/one.jpg", "sub/one.jpg", "a/two.jpg")]
    assert len(list(evaluation_images("memory://gold-paths", records))) == 3


def test_foreign_names_are_found_in_shards_and_through_a_key_map(
    tmp_path: Path, picture: Callable, imported: Callable
) -> None:
    one = picture("one.jpg")
    with tarfile.open(tmp_path / "0.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for key in ("a/one", "b/one"):
            tar.add(one, f"{key}.jpg")
    names = ["C:\\set\\a\\one.JPG", "D:\\one.jpg"]
    (tmp_path / "keys.csv").write_text(
        f"shard,key,file_name\n0.tar,a/one,{names[0]}\n0.tar,b/one,{names[1]}\n"
    )

    by_key, _ = imported("coco", coco(*names), images=open_images(str(tmp_path / "0.tar")))
    by_map, rows = imported(
        "coco", coco(*names), images=open_images(str(tmp_path / "0.tar"), tmp_path / "keys.csv")
    )

    assert by_key.records["images"]["codes"] == {"found_by_name": 1, "image_ambiguous": 1}
    assert by_map.records["images"]["kept"] == 2 and len({row["pixels"]["offset"] for row in rows}) == 2
    assert [row["key"] for row in rows] == ["one", "one#2"]


def test_tars_without_captions_are_evaluated_by_the_names_that_the_import_finds(
    tmp_path: Path, picture: Callable, imported: Callable
) -> None:
    one = picture("one.jpg")
    with tarfile.open(tmp_path / "0.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for name in ("a/one.v1.jpg", "a/one.v2.jpg", "two.jpg", "two.png", "b/three.JPG"):
            tar.add(one, name)
    names = ["one.v1.jpg", "a/one.v2.jpg", "two.jpg", "C:\\x\\three.jpg", "four.jpg"]
    (tmp_path / "gold.json").write_text(json.dumps(coco(*names)))
    source = str(tmp_path / "0.tar")

    report, rows = imported("coco", coco(*names), images=open_images(source))
    evaluated = [
        image.name for image in evaluation_images(source, read_gold(tmp_path / "gold.json")["images"])
    ]

    assert report.records["images"]["codes"] == {"found_by_name": 2, "image_missing": 1}
    assert len({row["pixels"]["offset"] for row in rows}) == 4
    assert sorted(evaluated) == sorted(names[:4])


def test_a_key_map_without_shards_is_refused(tmp_path: Path, picture: Callable) -> None:
    picture("one.jpg")

    with pytest.raises(ConfigError, match="--key-map .* is for samples of shards"):
        list(evaluation_images(str(tmp_path / "images"), [], tmp_path / "keys.csv"))
    with pytest.raises(NotFoundError, match="neither a folder nor shards"):
        list(evaluation_images(str(tmp_path / "nowhere"), []))


def test_a_split_list_names_images_of_foreign_paths_by_their_last_part(
    imported: Callable, picture: Callable
) -> None:
    picture("one.jpg")
    picture("two.jpg")

    report, rows = imported("coco", coco("C:\\x\\one.jpg", "C:\\x\\two.jpg"), split=frozenset({"one"}))

    assert [row["key"] for row in rows] == ["one"]
    assert report.records["images"]["codes"] == {"found_by_name": 1, "not_in_split": 1}


@pytest.mark.parametrize(
    ("file", "images", "codes"),
    [
        ("windows_paths", "img", {"found_by_name": 4}),
        ("windows_paths", "img/{stem}.jpg", {}),
        ("absolute_paths", "img", {"found_by_name": 4}),
        ("absolute_paths", "img/{stem}.jpg", {}),
        ("no_extension", "img", {"found_by_name": 4}),
        ("lvis_like", "img", {}),
        ("base", "img", {}),
    ],
)
def test_the_paths_of_field_reports_are_found(
    shared_data: Path, imported: Callable, file: str, images: str, codes: dict[str, int]
) -> None:
    folder = shared_data / "field_reports" / "gold"

    report, _ = imported("coco", folder / f"{file}.json", images=open_images(str(folder / images)))
    evaluated = evaluation_images(str(folder / images), read_gold(folder / f"{file}.json")["images"])

    assert report.records["annotations"]["kept"] == 6 and report.records["images"]["codes"] == codes
    assert sum(1 for _ in evaluated) == 4


def test_names_with_folders_of_a_field_report_are_kept(shared_data: Path, imported: Callable) -> None:
    folder = shared_data / "field_reports" / "gold"

    report, _ = imported("coco", folder / "subfolders.json", images=open_images(str(folder / "img")))

    assert report.records["annotations"]["kept"] == 4 and report.records["images"]["kept"] == 2


def test_an_evaluation_names_a_missing_image_with_the_option_that_helps(
    tmp_path: Path, picture: Callable, shared_data: Path
) -> None:
    picture("one.jpg")
    (tmp_path / "gold.json").write_text(json.dumps(coco("one.jpg", "gone.jpg")))
    model = shared_data / "real_teacher" / "yolox_nano.onnx"

    report = evaluate(model, tmp_path / "gold.json", tmp_path / "images", bootstrap=0)

    (note,) = [note for note in report["notes"] if "gold images are not in" in note]
    assert report["left_out"] == [1] and note.startswith("1 of 2 gold images are not in")
    assert "e.g. 'gone.jpg': no image under that name in --images" in note and "{stem}" in note
