"""No verb writes into another verb's output, over an existing file, or starts work whose result it cannot write."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from engine.storage.store import Store, open_store
from engine.views import open_view, write_view
from pipelines.cli import build_app
from pipelines.config.folder_kind import FolderKind, detect_kind
from pipelines.config.output_place import check_file, check_folder
from pipelines.demo.configs import write_configs
from pipelines.demo.layout import DemoLayout
from pipelines.demo.recipe import Recipe
from pipelines.label.run import label
from pipelines.steps.cache import StepCache
from schemas.errors import ConflictError, RuntimeEnvironmentError
from student.settings.train import TrainSettings
from student.training.report import write_settings
from tests.engine.s3_server import s3_bucket
from tests.engine.small_teacher import FACTORIES
from tests.engine.worlds import job_of, picture, plain_captions, write_shard

CONFLICT, ENVIRONMENT = ConflictError.exit_code, RuntimeEnvironmentError.exit_code


APP = build_app()


def groundswell(*words: object) -> Result:
    return CliRunner().invoke(APP, [str(word) for word in words])


def arguments(world: Path, words: list[str]) -> list[object]:
    """Return the words, with the path for each word that names a part of the world."""
    return [world / word if (world / word).exists() else word for word in words]


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make one output of every kind with the project's own code, and configurations."""
    root = tmp_path_factory.mktemp("made")
    (root / "shards").mkdir()
    label(job_of(root, [write_shard(root / "shards/0.tar", plain_captions(8))]), factories=FACTORIES)
    (root / "out").rename(root / "evidence")
    (root / "policy.yaml").write_text("{candidate_score: 0.1, min_score: 0.1}\n")
    for words in (
        ("compile", root / "evidence", root / "policy.yaml", "--to", root / "view"),
        ("audit", "sample", root / "view", "--to", root / "audit", "--n", 2),
        ("inspect", root / "view", "--to", root / "pictures", "--n", 2),
    ):
        result = groundswell(*words)
        assert result.exit_code == 0, result.stderr
    write_view(str(root / "gold"), open_view(str(root / "view")).rows(), kind="gold", provenance={"a": 1})
    streams = [{"url": str(root / "view"), "share": 1}]
    settings = TrainSettings(
        start="start", out=str(root / "training"), streams=streams, steps=1, batch_size=1
    )
    write_settings(settings, "sha256:run")
    StepCache(root / "demo", {}, 1, print).run_step("world", "", dict)
    write_configs(DemoLayout(root / "demo"), Recipe.quick(0))
    StepCache(root / "rounds", {}, 1, print).run_step("round-1-label", "", dict)
    (root / "model").mkdir()
    (root / "model/config.json").write_text("{}")
    (root / "model/model.safetensors").write_bytes(b"weights")
    (root / "thesis").mkdir()
    (root / "thesis/thesis.txt").write_text("years of work")
    (root / "train.yaml").write_text(
        f"{{start: {root}/model, out: runs/t, streams: [{{url: {root}/view, share: 1}}], steps: 1, batch_size: 1}}\n"
    )
    (root / "job.yaml").write_text(
        f"{{input: {{urls: ['{root}/shards/*.tar']}}, teacher: {{kind: glip, model: '{root}/model'}}, "
        f"output: {{url: '{root}/new'}}, run: {{executor: local}}}}\n"
    )
    coco = {
        "images": [{"id": 1, "file_name": "1.png", "width": 48, "height": 32}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 5, 5]}],
        "categories": [{"id": 1, "name": "dog"}],
    }
    (root / "images").mkdir()
    (root / "images/1.png").write_bytes(picture())
    (root / "coco.json").write_text(json.dumps(coco))
    (root / "results.json").write_text("[]")
    return root


@pytest.fixture
def world(made: Path, tmp_path: Path) -> Path:
    """Copy the outputs to write into. The configurations name the inputs of the original."""
    return Path(shutil.copytree(made, tmp_path / "made"))


PLACES = [
    "evidence",
    "view",
    "gold",
    "audit",
    "training",
    "model",
    "pictures",
    "demo",
    "rounds",
    "shards",
    "thesis",
]
VERBS = {
    "compile": ["evidence", "policy.yaml", "--to"],
    "inspect": ["view", "--to"],
    "audit sample": ["view", "--to"],
    "gold import": ["coco", "coco.json", "--images", "images", "--to"],
    "label": ["job.yaml", "--set"],
    "label --limit 1": ["job.yaml", "--keep"],
    "train": ["train.yaml", "--set"],
    "demo --quick": ["--to"],
    "model convert-glip": ["thesis/thesis.txt", "--to"],
}
SETTING = {"label": "output.url=", "train": "out="}
OWN = {
    "compile": "view",
    "inspect": "",
    "audit sample": "audit",
    "gold import": "gold",
    "label": "evidence",
    "label --limit 1": "evidence",
    "train": "training",
    "demo --quick": "demo",
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_refuses_the_output_of_every_other_verb_and_leaves_it_as_it_was(verb: str, made: Path) -> None:
    before = files_of(made)
    found = {}
    flags = ["--overwrite"] if verb in ("compile", "inspect", "audit sample", "gold import") else []
    for place in ("evidence", "view", "audit", "thesis"):
        if place != OWN.get(verb):
            to = f"{SETTING.get(verb, '')}{made / place}"
            result = groundswell(*verb.split(), *arguments(made, VERBS[verb]), to, *flags)
            found[place] = result.exit_code

    assert set(found.values()) == {CONFLICT}, found
    assert files_of(made) == before


def test_each_kind_of_output_is_recognized_and_accepted_only_by_its_own_verb(made: Path) -> None:
    kinds = {place: detect_kind(str(made / place)) for place in PLACES}
    assert [kind.name for kind in kinds.values()] == [place.upper() for place in PLACES[:-1]] + ["OTHER"]

    for place, kind in kinds.items():
        for own in set(FolderKind) - {FolderKind.NOTHING, FolderKind.OTHER, FolderKind.SHARDS}:
            if own is kind:
                assert check_folder("--to", str(made / place), own, overwrite=True) is kind
            else:
                with pytest.raises(ConflictError, match="expected a new or empty folder"):
                    check_folder("--to", str(made / place), own, overwrite=True)


@pytest.mark.parametrize(
    ("verb", "place"),
    [
        ("compile", "evidence/view"),
        ("inspect", "view/pictures"),
        ("audit sample", "demo/steps/audit"),
        ("label --limit 1", "view/data/trial"),
        ("model convert-glip", "training/model"),
        ("compile", "link/view"),
    ],
)
def test_a_new_folder_inside_the_output_of_a_verb_is_refused(verb: str, place: str, made: Path) -> None:
    if not (made / "link").exists():
        (made / "link").symlink_to(made / "evidence")
    before = files_of(made)

    result = groundswell(*verb.split(), *arguments(made, VERBS[verb]), made / place)

    assert result.exit_code == CONFLICT and "is inside" in result.stderr
    assert files_of(made) == before


@pytest.mark.parametrize("flags", [[], ["--overwrite"]])
@pytest.mark.parametrize(
    "words",
    [
        ["export", "view", "--to"],
        ["plan", "job.yaml", "-o"],
        ["evaluate", "results.json", "--gold", "coco.json", "--results-to"],
    ],
    ids=lambda words: words[0],
)
def test_a_file_of_another_verbs_output_or_a_shard_is_never_written(
    words: list[str], flags: list[str], made: Path
) -> None:
    places = (
        "view/view.json evidence/commits/x.json gold/new.json audit/sample.json shards/0.tar shards/new.json"
    )
    places += " pictures/new.json training/report.json demo/job.yaml rounds/steps/new.json model/config.json evidence"
    before = files_of(made)

    found = {
        place: groundswell(*arguments(made, words), made / place, *flags).exit_code
        for place in places.split()
    }

    assert set(found.values()) == {CONFLICT}, found
    assert files_of(made) == before


def test_an_existing_file_is_replaced_only_with_overwrite(world: Path) -> None:
    target = world / "labels.json"
    target.write_text("mine")

    refused = groundswell("export", world / "view", "--to", target)
    assert (refused.exit_code, target.read_text()) == (CONFLICT, "mine") and "--overwrite" in refused.stderr

    assert groundswell("export", world / "view", "--to", target, "--overwrite").exit_code == 0
    assert json.loads(target.read_text())["images"]
    gold = groundswell(
        *("evaluate", world / "results.json", "--gold", world / "coco.json"),
        *("--results-to", world / "coco.json", "--overwrite"),
    )
    assert gold.exit_code == 2 and "reads" in gold.stderr


@pytest.mark.parametrize("read", ["input.only", "input.urls"])
def test_a_frozen_plan_does_not_replace_a_list_that_the_job_reads(read: str, world: Path) -> None:
    target = world / "list.txt"
    target.write_text(f"{world}/shards/0.tar\n")
    value = f"['@{target}']" if read == "input.urls" else target
    job = (world / "job.yaml", "--set", f"{read}={value}")

    refused = groundswell("plan", *job, "-o", target, "--overwrite")

    assert refused.exit_code == 2 and "reads" in refused.stderr
    assert target.read_text() == f"{world}/shards/0.tar\n"


def test_the_same_view_is_compiled_again_and_another_one_needs_overwrite_and_replaces_it_whole(
    world: Path,
) -> None:
    words = ("compile", world / "evidence", world / "policy.yaml", "--to", world / "view")
    before = files_of(world / "view")
    assert groundswell(*words).exit_code == 0 and files_of(world / "view") == before

    stricter = (*words, "--set", "min_score=0.9", "--set", "candidate_score=0.9")
    refused = groundswell(*stricter)
    assert refused.exit_code == CONFLICT and "samples" not in refused.stderr  # before the work
    assert files_of(world / "view") == before

    assert groundswell(*stricter, "--overwrite").exit_code == 0
    other = groundswell(*stricter[:4], world / "other", *stricter[5:])
    assert other.exit_code == 0, other.stderr
    assert files_of(world / "view") == files_of(world / "other") != before


def test_pictures_and_an_unreviewed_audit_are_replaced_only_with_overwrite(world: Path) -> None:
    inspect = ("inspect", world / "view", "--to", world / "pictures", "--n", 1)
    assert groundswell(*inspect).exit_code == CONFLICT
    assert groundswell(*inspect, "--overwrite").exit_code == 0
    assert len(files_of(world / "pictures")) == 2  # none of the earlier call is left

    sample = ("audit", "sample", world / "view", "--to", world / "audit", "--n", 2)
    before = files_of(world / "audit")
    assert groundswell(*sample).exit_code == 0 and files_of(world / "audit") == before
    assert groundswell(*sample, "--seed", 1).exit_code == CONFLICT
    assert groundswell(*sample, "--seed", 1, "--overwrite").exit_code == 0
    (world / "audit/verdicts.db").write_bytes(b"a person's work")
    reviewed = files_of(world / "audit")
    assert groundswell(*sample, "--overwrite").exit_code == CONFLICT and files_of(world / "audit") == reviewed


@pytest.mark.parametrize("place", ["policy.yaml/view", "policy.yaml", "n" * 300])
@pytest.mark.parametrize("verb", ["compile", "inspect", "gold import", "label"])
def test_a_place_that_cannot_be_written_is_named_before_the_work(verb: str, place: str, made: Path) -> None:
    to = f"{SETTING.get(verb, '')}{made / place}"
    result = groundswell(*verb.split(), *arguments(made, VERBS[verb]), to)

    assert result.exit_code == ENVIRONMENT
    assert str(made / place) in result.stderr and "samples" not in result.stderr


@pytest.mark.parametrize("root", ["/", "memory://"])
def test_the_root_of_a_file_system_counts_as_a_folder_with_other_files(root: str) -> None:
    open_store("memory://").put("root-of-memory/thesis.txt", b"years of work")

    with pytest.raises(ConflictError, match="other files"):
        check_folder("--to", root, FolderKind.VIEW)


@pytest.mark.parametrize("flags", [[], ["--overwrite"]])
@pytest.mark.parametrize("words", [["export", "view", "--to"], ["plan", "job.yaml", "-o"]])
def test_a_pipe_or_device_is_never_replaced_by_a_file(
    words: list[str], flags: list[str], world: Path
) -> None:
    pipe = world / "pipe"
    os.mkfifo(pipe)

    result = groundswell(*arguments(world, words), pipe, *flags)

    assert result.exit_code == ENVIRONMENT and "plain file" in result.stderr
    assert pipe.is_fifo()


def test_the_view_inside_the_tars_of_a_view_is_not_replaced_on_its_own(world: Path) -> None:
    words = ("compile", world / "evidence", world / "policy.yaml", "--to")
    assert groundswell(*words, world / "new", "--materialize", "webdataset").exit_code == 0
    before = files_of(world / "new")

    result = groundswell(*words, world / "new/webdataset/view", "--set", "min_score=0.9", "--overwrite")

    assert result.exit_code == CONFLICT
    assert files_of(world / "new") == before


@pytest.mark.parametrize("verb", ["inspect", "audit sample", "demo --quick", "plan", "model convert-glip"])
def test_a_url_is_refused_where_only_a_local_path_can_be_written(
    verb: str, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world)
    before = files_of(world)

    words = {"plan": ["job.yaml", "-o"], **VERBS}[verb]
    result = groundswell(*verb.split(), *arguments(world, words), f"file://{world}/new")

    assert result.exit_code == 2 and "URL" in result.stderr
    assert files_of(world) == before


def test_a_folder_may_be_added_next_to_the_outputs_of_a_demo(world: Path) -> None:
    assert groundswell("inspect", world / "view", "--to", world / "demo/pictures").exit_code == 0


def test_a_configuration_may_be_in_the_folder_that_it_names_and_other_files_may_not(tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_text("out: .")
    asked = ("out", str(tmp_path), FolderKind.TRAINING)

    assert check_folder(*asked, reads=(str(tmp_path / "train.yaml"),)) is FolderKind.NOTHING
    with pytest.raises(ConflictError, match="train.yaml"):
        check_folder(*asked)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConflictError, match="notes.txt"):
        check_folder(*asked, reads=(str(tmp_path / "train.yaml"),))


def test_a_file_may_be_added_next_to_the_outputs_of_a_demo_but_not_replace_one_of_its_files(
    world: Path,
) -> None:
    for _ in range(2):
        assert (
            groundswell("export", world / "view", "--to", world / "demo/labels.json", "--overwrite").exit_code
            == 0
        )
    before = files_of(world / "demo")
    assert before

    for own in ("job.yaml", "report.html", "view/labels.json", "steps/new.json"):
        result = groundswell("export", world / "view", "--to", world / "demo" / own, "--overwrite")
        assert result.exit_code == 5, (own, result.stderr)
    assert files_of(world / "demo") == before


@pytest.mark.parametrize(("verb", "place"), [("compile", "view"), ("gold import", "imported")])
def test_an_output_whose_writing_was_cut_short_is_written_again(verb: str, place: str, world: Path) -> None:
    words = [*verb.split(), *arguments(world, VERBS[verb]), world / place]
    assert groundswell(*words).exit_code == 0
    whole = files_of(world / place)
    (world / place / "view.json").unlink()  # it is written last
    result = groundswell(*words)
    assert result.exit_code == 0, result.stderr
    assert files_of(world / place) == whole


def test_a_prefix_whose_parent_may_not_be_listed_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    list_folder = Store.list_folder

    def own_prefix_alone(store: Store, prefix: str = "") -> list[str]:
        if store.url == "memory://bucket/team":
            raise RuntimeEnvironmentError("access denied")
        return list_folder(store, prefix)

    monkeypatch.setattr(Store, "list_folder", own_prefix_alone)
    place = "memory://bucket/team/out"
    assert check_folder("output.url", place, FolderKind.EVIDENCE) is FolderKind.NOTHING


def test_an_empty_folder_data_is_not_an_output(world: Path) -> None:
    (world / "project/data").mkdir(parents=True)
    result = groundswell("inspect", world / "view", "--to", world / "project/pictures", "--n", 1)
    assert result.exit_code == 0, result.stderr


def test_a_project_with_folders_named_as_those_of_evidence_is_no_evidence(world: Path) -> None:
    for name in ("jobs/train.sh", "snapshots/best.pt", "data/a.csv", "logs/a.txt", "commits/a.txt"):
        path = world / "project" / name
        path.parent.mkdir(parents=True)
        path.write_text("x")
    result = groundswell("inspect", world / "view", "--to", world / "project/pictures", "--n", 1)
    assert result.exit_code == 0, result.stderr


@pytest.mark.parametrize("place", ["memory", pytest.param("s3", marks=pytest.mark.slow)])
def test_urls_are_checked_as_folders_are(place: str, world: Path) -> None:
    if place == "memory":
        _look_at_urls("memory://places", world, None)
        return
    with s3_bucket() as (bucket, storage):
        _look_at_urls(bucket, world, storage)


def _look_at_urls(root: str, world: Path, storage: object) -> None:
    for name in ("evidence", "view", "gold", "thesis"):
        store = open_store(f"{root}/{name}", storage)
        for path, data in files_of(world / name).items():
            store.put(path, data)
    kinds = {
        name: detect_kind(f"{root}/{name}", storage) for name in ("evidence", "view", "gold", "thesis", "new")
    }
    assert list(kinds.values()) == [
        FolderKind.EVIDENCE,
        FolderKind.VIEW,
        FolderKind.GOLD,
        FolderKind.OTHER,
        FolderKind.NOTHING,
    ]

    for name in ("evidence", "gold", "thesis", "view/data/inside", "evidence/view"):
        with pytest.raises(ConflictError):
            check_folder("--to", f"{root}/{name}", FolderKind.VIEW, storage=storage)
    for name in ("view/view.json", "evidence/commits/x.json"):
        with pytest.raises(ConflictError):
            check_file("--to", f"{root}/{name}", storage=storage, overwrite=True)
    with pytest.raises(RuntimeEnvironmentError, match="object"):
        check_folder("--to", f"{root}/thesis/thesis.txt", FolderKind.VIEW, storage=storage)
    assert check_folder("--to", f"{root}/new", FolderKind.VIEW, storage=storage) is FolderKind.NOTHING
    assert check_folder("--to", f"{root}/view", FolderKind.VIEW, storage=storage) is FolderKind.VIEW
    check_file("--to", f"{root}/labels.json", storage=storage)
    open_store(root, storage).put("snapshots/best.pt", b"")  # of somebody else
    assert check_folder("--to", f"{root}/other", FolderKind.VIEW, storage=storage) is FolderKind.NOTHING
    assert open_store(f"{root}/new", storage).list_folder() == []  # the look leaves nothing behind
