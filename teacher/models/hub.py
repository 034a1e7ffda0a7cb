"""Models of the Hugging Face hub: `owner/name@commit` becomes a local directory.

A name without its commit is refused, because its files may change between two workers of one run.
"""

from __future__ import annotations

import re
from pathlib import Path

from schemas.errors import ConfigError, NotFoundError, RuntimeEnvironmentError

HUB_ID = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*/[\w.-]+)@(?P<revision>[^@/\s]+)", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+", re.ASCII)
_CACHED = re.compile(r"models--([A-Za-z0-9][\w.-]*?)--([\w.-]+)", re.ASCII)
_BASE_MODEL = re.compile(r"^base_model: *['\"]?([^'\"\s]+)['\"]? *$", re.MULTILINE)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_COMMIT_AT_END = re.compile(r"@[0-9a-fA-F]{40}$")
_FILES = ("*.safetensors", "*.json", "vocab.txt", "merges.txt")
"""What is downloaded: no pickles and no code."""


def locate_model(model: str) -> str:
    """Return the local path of a model: a path unchanged, a hub id as the directory of its files in the hub's cache.

    Downloads what is missing, unless HF_HUB_OFFLINE is set.

    raises: ConfigError for a hub id without a full commit, NotFoundError if the hub or (offline) the cache does not
            have it, RuntimeEnvironmentError if the hub does not answer
    """
    if not model or Path(model).exists():
        return model
    match = HUB_ID.fullmatch(model)
    if match is None:
        if _NAME.fullmatch(model):
            raise NotFoundError(
                f"teacher.model {model!r} does not exist here; a model of the hub is named with its commit: "
                f"{model}@<40 hexadecimal digits>, from the page `Files and versions` of the model"
            )
        if _COMMIT_AT_END.search(model):
            raise ConfigError(
                f"teacher.model {model!r} is not a path here and not a hub id; expected owner/name@commit, such as "
                "IDEA-Research/grounding-dino-tiny@<40 hexadecimal digits>"
            )
        return model
    if not _COMMIT.fullmatch(match["revision"]):
        raise ConfigError(
            f"teacher.model {model!r}: {match['revision']!r} is not a commit; give all 40 hexadecimal digits, since a "
            "branch or tag can move while a job runs"
        )
    return _download(match["name"], match["revision"])


def find_hub_name(folder: Path) -> str | None:
    """Return `owner/name` of the model of the hub in a directory, or that it was trained from; None if unknown.

    The directory is in the hub's cache, or has a model card that names its base model.
    """
    for part in reversed(folder.absolute().parts):
        if match := _CACHED.fullmatch(part):
            return f"{match[1]}/{match[2]}"
    try:
        card = (folder / "README.md").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
    front = card.split("\n---", 1)[0] if card.startswith("---") else ""
    found = _BASE_MODEL.search(front)
    return found[1] if found is not None and _NAME.fullmatch(found[1]) else None


def _download(name: str, commit: str) -> str:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return str(snapshot_download(name, revision=commit, allow_patterns=list(_FILES)))
    except GatedRepoError as error:
        raise NotFoundError(
            f"the hub gives {name} only to users who accepted its terms; accept them on its page and set HF_TOKEN"
        ) from error
    except RevisionNotFoundError as error:
        raise NotFoundError(f"{name} has no commit {commit} on the hub; correct teacher.model") from error
    except RepositoryNotFoundError as error:
        raise NotFoundError(
            f"the hub has no model {name}, or it is private; correct teacher.model, or set HF_TOKEN"
        ) from error
    except LocalEntryNotFoundError as error:
        raise NotFoundError(
            f"{name}@{commit} is not in the hub's cache of this machine and cannot be downloaded (HF_HUB_OFFLINE is "
            f"set, or the hub does not answer); download it once with `hf download {name} --revision {commit}`, or "
            "copy its files and give their directory"
        ) from error
    except HFValidationError as error:
        raise ConfigError(f"teacher.model {name!r} is not a name of the hub ({error})") from error
    except (HfHubHTTPError, OSError) as error:
        raise RuntimeEnvironmentError(
            f"the hub did not give {name}@{commit} ({type(error).__name__}: {error}); try again, or copy its files and "
            "give their directory"
        ) from error
