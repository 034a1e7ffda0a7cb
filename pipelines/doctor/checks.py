"""The checks of `groundswell doctor`: one function each, which returns what it found and how to fix a problem.

A check that raises an error counts as failed.
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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypedDict

LIBRARIES = (
    "torch",
    "transformers",
    "ray",
    "pyarrow",
    "spacy",
    "fsspec",
    "pydantic",
    "onnxruntime",
)
OFFICIAL_MODELS = ("en_core_web_sm", "en_core_web_trf")
NEEDED_FREE_BYTES = 2 << 30


@dataclass(frozen=True)
class Finding:
    """The result of a check. `fix` is empty if `ok`."""

    check: str
    ok: bool
    found: str
    fix: str = ""


class FindingData(TypedDict):
    """A `Finding` as JSON."""

    check: str
    ok: bool
    found: str
    fix: str


class DoctorReport(TypedDict):
    """The JSON of `doctor`."""

    ok: bool
    checks: list[FindingData]


Check = Callable[[], Finding]


def run_checks(store_url: str | None = None) -> list[Finding]:
    """Run every check, in order. store_url: also write there, conditionally.

    The names are those that the checks give their findings, so a check that raises is found under the same name.
    """
    checks: dict[str, Check] = {
        "python": check_python_version,
        "libraries": check_libraries,
        "torch": describe_torch_device,
        "torchvision": check_torchvision,
        "phrases": check_phrase_pipeline,
        "spaCy models": list_official_models,
        "home": check_home,
        "shared memory": check_shared_memory,
        "disk": check_disk,
        "git and make": check_git_and_make,
    }
    if store_url:
        checks["store"] = partial(check_store_writes, store_url)
    return [_run(name, check) for name, check in checks.items()]


def report_findings(findings: Sequence[Finding]) -> DoctorReport:
    """Return the findings as one JSON object."""
    checks: list[FindingData] = [
        {"check": item.check, "ok": item.ok, "found": item.found, "fix": item.fix} for item in findings
    ]
    return {"ok": all(item.ok for item in findings), "checks": checks}


def _run(name: str, check: Check) -> Finding:
    try:
        return check()
    except Exception as error:  # a check that fails to run is a finding, too
        return Finding(
            name, False, f"{type(error).__name__}: {error}", "run `make setup` and read its last lines"
        )


def check_python_version() -> Finding:
    """Check for Python 3.11 to 3.13."""
    found = ".".join(map(str, sys.version_info[:3]))
    good = (3, 11) <= sys.version_info[:2] < (3, 14)
    return Finding("python", good, found, "" if good else "use Python 3.11, 3.12 or 3.13")


def check_libraries() -> Finding:
    """Check that every library that the project needs is installed."""
    missing = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES if name not in missing
    )
    return Finding(
        "libraries",
        not missing,
        versions,
        f"missing: {', '.join(missing)}; run `make setup`" if missing else "",
    )


def describe_torch_device() -> Finding:
    """Return the device on which torch computes."""
    import torch

    if torch.cuda.is_available():
        found = f"torch {torch.__version__}, {torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"
    else:
        found = f"torch {torch.__version__}, CPU with {os.cpu_count()} cores"
    return Finding("torch", True, found)


def check_torchvision() -> Finding:
    """Check that torchvision is absent or works. A broken one breaks every import of transformers."""
    if importlib.util.find_spec("torchvision") is None:
        return Finding("torchvision", True, "absent (not needed)")
    code = "import torchvision, torch; torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if answer.returncode == 0:
        return Finding("torchvision", True, "present and working")
    return Finding(
        "torchvision",
        False,
        "present but not working: transformers cannot import its models",
        f"{sys.executable} -m pip uninstall torchvision, or install the build that matches your torch",
    )


def check_phrase_pipeline() -> Finding:
    """Check that the bundled phrase pipeline finds the phrases of a caption."""
    from teacher.factories import make_finder

    answer = make_finder({"pipeline": "bundled"}).find(["a brown dog chases two red balls"])[0]
    texts = [phrase.text for phrase in answer.phrases]
    good = texts == ["a brown dog", "two red balls"]
    return Finding("phrases", good, f"bundled pipeline: {texts}", "" if good else "reinstall the package")


def list_official_models() -> Finding:
    """List spaCy's own English models, which `phrases.pipeline` may name. None of them is needed."""
    found = [name for name in OFFICIAL_MODELS if importlib.util.find_spec(name) is not None]
    absent = [name for name in OFFICIAL_MODELS if name not in found]
    how = "; ".join(f"python -m spacy download {name}" for name in absent)
    optional = f"not needed; to use {' or '.join(absent)}: {how}" if absent else ""
    return Finding("spaCy models", True, ", ".join([*found, optional]).strip(", "))


def check_home() -> Finding:
    """Check that HOME is writable: Ray writes a token there unless RAY_AUTH_TOKEN_PATH names a file."""
    if os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return Finding("home", True, f"RAY_AUTH_TOKEN_PATH={os.environ['RAY_AUTH_TOKEN_PATH']}")
    good = os.access(Path.home(), os.W_OK)
    fix = "" if good else "set HOME to a writable folder, or RAY_AUTH_TOKEN_PATH to a file"
    return Finding("home", good, str(Path.home()), fix)


def check_shared_memory() -> Finding:
    """Check the space for Ray's object store."""
    place = Path("/dev/shm")
    if not place.is_dir():
        return Finding(
            "shared memory", False, "/dev/shm is missing", "mount a tmpfs there (docker: --shm-size=2g)"
        )
    free = shutil.disk_usage(place).free
    good = free >= 1 << 28
    fix = "" if good else "make /dev/shm larger (docker: --shm-size=2g)"
    return Finding("shared memory", good, f"{free >> 20} MiB free", fix)


def check_disk() -> Finding:
    """Check the space for cached shards and evidence."""
    free = shutil.disk_usage(tempfile.gettempdir()).free
    good = free >= NEEDED_FREE_BYTES
    fix = "" if good else f"free {NEEDED_FREE_BYTES >> 30} GiB, or set TMPDIR to another disk"
    return Finding("disk", good, f"{free >> 30} GiB free in {tempfile.gettempdir()}", fix)


def check_git_and_make() -> Finding:
    """Check for the two programs that the README's commands use."""
    missing = [name for name in ("git", "make") if shutil.which(name) is None]
    return Finding(
        "git and make",
        not missing,
        "present" if not missing else f"missing: {', '.join(missing)}",
        f"sudo apt-get install {' '.join(missing)}" if missing else "",
    )


def check_store_writes(store_url: str) -> Finding:
    """Check that a store refuses the second of two conditional writes. Otherwise two drivers could both commit."""
    from engine.storage.conditional_put_check import check_store
    from engine.storage.store import open_store
    from schemas.errors import RuntimeEnvironmentError

    try:
        check_store(open_store(store_url))
    except RuntimeEnvironmentError as problem:
        return Finding(
            "store", False, str(problem), "use another output.url, or check the settings of the bucket"
        )
    return Finding("store", True, f"{store_url}: conditional writes work")
