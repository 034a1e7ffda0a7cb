"""One small function a check; each says what it found and, when that is not good, what to do.

Promise: a check that cannot be made is a failed check, never a silent pass.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

LIBRARIES = (
    "torch",
    "transformers",
    "ray",
    "pyarrow",
    "webdataset",
    "spacy",
    "fsspec",
    "pydantic",
    "onnxruntime",
)
OFFICIAL_MODELS = ("en_core_web_sm", "en_core_web_trf")
NEEDED_FREE_BYTES = 2 << 30


@dataclass(frozen=True)
class Finding:
    """What a check found. `fix` is empty when `ok`."""

    check: str
    ok: bool
    found: str
    fix: str = ""


def run_checks(store_url: str | None = None) -> list[Finding]:
    """Every check, in order; `store_url` adds a write and a conditional write to that place."""
    checks: list[Callable[[], Finding]] = [
        python_version,
        libraries,
        torch_device,
        torchvision,
        phrase_pipeline,
        official_models,
        home_is_writable,
        shared_memory,
        free_disk,
        git_and_make,
    ]
    if store_url:
        checks.append(partial(conditional_writes, store_url))
    return [_guarded(check) for check in checks]


def report(findings: list[Finding]) -> dict[str, Any]:
    """The findings as one JSON object."""
    return {"ok": all(item.ok for item in findings), "checks": [asdict(item) for item in findings]}


def _guarded(check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except Exception as error:  # the check itself broke: that is a finding, with its reason
        function = check.func if isinstance(check, partial) else check
        name = function.__name__.replace("_", " ")
        return Finding(
            name, False, f"{type(error).__name__}: {error}", "run `make setup` and look at its last lines"
        )


def python_version() -> Finding:
    """Python 3.11 to 3.13."""
    found = ".".join(map(str, sys.version_info[:3]))
    good = (3, 11) <= sys.version_info[:2] < (3, 14)
    return Finding("python", good, found, "" if good else "use Python 3.11, 3.12 or 3.13")


def libraries() -> Finding:
    """Every library that the project leans on can be found."""
    missing = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES if name not in missing
    )
    return Finding(
        "libraries", not missing, versions, f"missing: {missing}; run `make setup`" if missing else ""
    )


def torch_device() -> Finding:
    """What torch can compute on."""
    import torch

    if torch.cuda.is_available():
        found = f"torch {torch.__version__}, {torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"
    else:
        found = f"torch {torch.__version__}, CPU with {os.cpu_count()} cores"
    return Finding("torch", True, found)


def torchvision() -> Finding:
    """Absent, or present and working: a broken torchvision breaks every transformers import."""
    if importlib.util.find_spec("torchvision") is None:
        return Finding("torchvision", True, "absent (not needed)")
    code = "import torchvision, torch; torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if answer.returncode == 0:
        return Finding("torchvision", True, "present and working")
    return Finding(
        "torchvision",
        False,
        "present but unusable: transformers would fail to import its models",
        f"{sys.executable} -m pip uninstall torchvision, or install the build of your torch's own index",
    )


def phrase_pipeline() -> Finding:
    """The bundled phrase pipeline finds the phrases of a caption."""
    from teacher.build import finder

    found = finder({"pipeline": "bundled"}).find(["a brown dog chases two red balls"])[0]
    texts = [phrase.text for phrase in found.phrases]
    good = texts == ["a brown dog", "two red balls"]
    return Finding("phrases", good, f"bundled pipeline: {texts}", "" if good else "reinstall the package")


def official_models() -> Finding:
    """Which of spaCy's own English models can be named in `phrases.pipeline`. Absent is no fault: none is needed."""
    found = [name for name in OFFICIAL_MODELS if importlib.util.find_spec(name) is not None]
    absent = [name for name in OFFICIAL_MODELS if name not in found]
    how = "; ".join(f"python -m spacy download {name}" for name in absent)
    optional = f"not needed; to use {' or '.join(absent)}: {how}" if absent else ""
    return Finding("spaCy models", True, ", ".join([*found, optional]).strip(", "))


def home_is_writable() -> Finding:
    """Ray writes a token under HOME unless RAY_AUTH_TOKEN_PATH says where."""
    if os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return Finding("home", True, f"RAY_AUTH_TOKEN_PATH={os.environ['RAY_AUTH_TOKEN_PATH']}")
    good = os.access(Path.home(), os.W_OK)
    fix = "" if good else "set HOME to a writable folder, or RAY_AUTH_TOKEN_PATH to a file"
    return Finding("home", good, str(Path.home()), fix)


def shared_memory() -> Finding:
    """Room for Ray's object store."""
    place = Path("/dev/shm")
    if not place.is_dir():
        return Finding(
            "shared memory", False, "/dev/shm is absent", "mount a tmpfs there (docker: --shm-size=2g)"
        )
    free = shutil.disk_usage(place).free
    good = free >= 1 << 28
    return Finding("shared memory", good, f"{free >> 20} MiB free", "" if good else "docker: --shm-size=2g")


def free_disk() -> Finding:
    """Room for spooled shards and evidence."""
    free = shutil.disk_usage(tempfile.gettempdir()).free
    good = free >= NEEDED_FREE_BYTES
    fix = "" if good else f"free {NEEDED_FREE_BYTES >> 30} GiB, or set TMPDIR to another disk"
    return Finding("disk", good, f"{free >> 30} GiB free in {tempfile.gettempdir()}", fix)


def git_and_make() -> Finding:
    """The two programs that the README's commands use."""
    missing = [name for name in ("git", "make") if shutil.which(name) is None]
    return Finding(
        "git and make",
        not missing,
        "present" if not missing else f"missing: {missing}",
        f"sudo apt-get install {' '.join(missing)}" if missing else "",
    )


def conditional_writes(store_url: str) -> Finding:
    """A store must refuse the second of two conditional writes; without it two drivers could both win."""
    from engine.storage.conditional_put_check import check_store
    from engine.storage.store import open_store
    from schemas.errors import RuntimeEnvironmentError

    try:
        check_store(open_store(store_url))
    except RuntimeEnvironmentError as problem:
        return Finding("store", False, str(problem), "use another output.url, or check the bucket's settings")
    return Finding("store", True, f"{store_url}: conditional writes honoured")
