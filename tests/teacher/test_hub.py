"""Models of the hub: named with their commit, downloaded once, offline from the cache, never with code or pickles."""

import os
import subprocess
import sys

import pytest

from schemas.errors import ConfigError, NotFoundError
from teacher.models.hub import find_hub_name, locate_model
from tests.mutations import Mutation
from tests.teacher.hub_server import serve_hub

NAME, COMMIT = "owner/tiny-detector", "0123456789abcdef0123456789abcdef01234567"
PROGRAM = (
    "import sys; from teacher.models.hub import find_hub_name, locate_model; print(locate_model(sys.argv[1]))"
)
MUTATIONS = (
    Mutation(
        "teacher/models/hub.py",
        "allow_patterns=list(_FILES)",
        "allow_patterns=None",
        "test_a_model_is_downloaded_once_without_code_and_pickles",
    ),
    Mutation(
        "teacher/models/hub.py",
        'if not _COMMIT.fullmatch(match["revision"]):',
        "if False:",
        "test_a_branch_is_refused_because_it_can_move",
    ),
)


@pytest.fixture
def model_files(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "vocab.txt"):
        (folder / name).write_text(name)
    for name in ("pytorch_model.bin", "modeling_evil.py", "README.md"):
        (folder / name).write_text("not for us")
    return folder


def locate(project_root, cache, model, **environment):
    """Return what a fresh process prints, because the hub's library reads its settings once."""
    own = {**os.environ, "HF_HUB_CACHE": str(cache), "HF_HUB_DISABLE_TELEMETRY": "1", **environment}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, model], capture_output=True, text=True, cwd=project_root, env=own
    )


def test_a_model_is_downloaded_once_without_code_and_pickles(tmp_path, model_files, project_root):
    cache = tmp_path / "cache"
    with serve_hub(NAME, COMMIT, model_files) as endpoint:
        answer = locate(project_root, cache, f"{NAME}@{COMMIT}", HF_ENDPOINT=endpoint, HF_HUB_OFFLINE="0")

    assert answer.returncode == 0, answer.stderr
    folder = answer.stdout.strip()
    assert sorted(os.listdir(folder)) == ["config.json", "model.safetensors", "tokenizer.json", "vocab.txt"]
    # the server is gone, so this answer comes from the cache
    assert locate(project_root, cache, f"{NAME}@{COMMIT}", HF_HUB_OFFLINE="1").stdout.strip() == folder


def test_every_shard_of_the_weights_is_downloaded_with_its_index(tmp_path, model_files, project_root):
    shards = {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}
    (model_files / "model.safetensors").unlink()
    for name in (*shards, "model.safetensors.index.json"):
        (model_files / name).write_text(name)
    with serve_hub(NAME, COMMIT, model_files) as endpoint:
        answer = locate(
            project_root, tmp_path / "cache", f"{NAME}@{COMMIT}", HF_ENDPOINT=endpoint, HF_HUB_OFFLINE="0"
        )

    assert answer.returncode == 0, answer.stderr
    assert {*shards, "model.safetensors.index.json"} <= set(os.listdir(answer.stdout.strip()))


def test_offline_without_a_cache_the_error_says_how_to_download(tmp_path, project_root):
    answer = locate(project_root, tmp_path / "cache", f"{NAME}@{COMMIT}", HF_HUB_OFFLINE="1")

    assert "NotFoundError" in answer.stderr and f"hf download {NAME} --revision {COMMIT}" in answer.stderr


def test_a_commit_that_the_hub_does_not_have_is_reported_as_such(tmp_path, model_files, project_root):
    other = "f" * 40
    with serve_hub(NAME, COMMIT, model_files) as endpoint:
        answer = locate(
            project_root, tmp_path / "cache", f"{NAME}@{other}", HF_ENDPOINT=endpoint, HF_HUB_OFFLINE="0"
        )

    assert "NotFoundError" in answer.stderr and f"no commit {other}" in answer.stderr


@pytest.mark.parametrize("revision", ["main", "v1.0", COMMIT[:7], COMMIT.upper()])
def test_a_branch_is_refused_because_it_can_move(revision):
    with pytest.raises(ConfigError, match="is not a commit; give all 40"):
        locate_model(f"{NAME}@{revision}")


def test_a_hub_id_without_a_commit_says_where_to_find_it():
    with pytest.raises(NotFoundError, match="named with its commit: owner/tiny-detector@<40"):
        locate_model(NAME)


def test_a_path_that_exists_is_never_a_hub_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "tiny-detector").mkdir(parents=True)

    assert locate_model(NAME) == NAME


def test_the_name_of_a_model_comes_from_the_cache_or_from_the_card_of_what_was_trained_from_it(tmp_path):
    cached = tmp_path / "hub/models--own-er--na--me.v2/snapshots/0123"
    trained, plain, hostile = tmp_path / "trained", tmp_path / "runs/model", tmp_path / "hostile"
    for folder in (cached, trained, plain, hostile):
        folder.mkdir(parents=True)
    (trained / "README.md").write_text("---\nlicense: mit\nbase_model: owner/name\n---\n# A model\n")
    (plain / "README.md").write_text("---\nlicense: mit\n---\nbase_model: owner/name\n")
    (hostile / "README.md").write_text("---\nbase_model: ../../etc/passwd\n---\n")

    assert find_hub_name(cached) == "own-er/na--me.v2"
    assert find_hub_name(trained) == "owner/name"
    assert [find_hub_name(folder) for folder in (plain, hostile, tmp_path / "none")] == [None] * 3
