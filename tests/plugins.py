"""Packages of users, as tests install them: a module, and an entry point that names it."""

from __future__ import annotations

from pathlib import Path


def write_plugin(folder: Path, module: str, code: str, *, group: str = "", name: str = "") -> None:
    """Write a module into a folder that is, or will be, on the import path.

    group, name: also register the module's `ENTRY` as an installed package would
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{module}.py").write_text(code, encoding="utf-8")
    if group:
        info = folder / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}:ENTRY\n")
