"""Where our rooms are, and whether another folder of the same name stands in front of them.

Ray puts the driver's current directory first on its workers' path, so a foreign `engine/` there would be imported
instead of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from schemas.errors import RuntimeEnvironmentError

ROOMS = ("schemas", "engine", "teacher")


def package_root() -> str:
    """The folder that holds our rooms."""
    return str(Path(__file__).resolve().parents[2])


def check_rooms(origins: Mapping[str, str | None], root: str, who: str) -> None:
    """Raise RuntimeEnvironmentError when a room comes from elsewhere. origins: room -> file, as found by `who`."""
    for room, origin in origins.items():
        if origin is None:
            raise RuntimeEnvironmentError(
                f"{who} cannot import {room!r}; install Groundswell on every node, in the same place ({root})"
            )
        if Path(origin).resolve().parent.parent != Path(root):
            raise RuntimeEnvironmentError(
                f"{who} would import {room!r} from {origin}, which shadows {root}/{room}; start from another folder, "
                "remove it from PYTHONPATH, or install Groundswell in the same place on every node"
            )
