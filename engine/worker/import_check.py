"""A check that workers import our packages, and not other folders of the same names.

Ray puts the driver's current directory first on the workers' path, so a foreign `engine/` there would be imported
instead of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from schemas import PACKAGES
from schemas.errors import RuntimeEnvironmentError

WORKER_PACKAGES = PACKAGES[:3]
"""What a worker imports: schemas, engine, teacher."""


def package_root() -> str:
    """Return the folder that contains our top-level packages."""
    return str(Path(__file__).resolve().parents[2])


def check_packages(origins: Mapping[str, str | None], root: str, who: str) -> None:
    """Raise RuntimeEnvironmentError if a package comes from elsewhere.

    origins: package -> file that `who` imports it from
    """
    for package, origin in origins.items():
        if origin is None:
            raise RuntimeEnvironmentError(
                f"{who} cannot import {package!r}; install Groundswell on every node, in the same place ({root})"
            )
        if Path(origin).resolve().parent.parent != Path(root):
            raise RuntimeEnvironmentError(
                f"{who} would import {package!r} from {origin}, which shadows {root}/{package}; start from another "
                "folder, remove it from PYTHONPATH, or install Groundswell in the same place on every node"
            )
