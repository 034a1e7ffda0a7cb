"""Write a tiny world into a folder, once. `world.json` is written last and marks it as complete."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pipelines.demo.world.gold import draw_gold_scenes, draw_test_scenes, write_gold
from pipelines.demo.world.settings import WorldSettings
from pipelines.demo.world.web import write_web
from schemas.errors import ConflictError
from schemas.progress import ProgressCallback


@dataclass(frozen=True)
class World:
    """The paths of a written world."""

    folder: Path

    @property
    def gold_view(self) -> str:
        """Folder of the gold set as a view."""
        return str(self.folder / "gold" / "view")

    @property
    def test_coco(self) -> Path:
        """The held-out set as COCO JSON. Its images are in `images/` in the same folder."""
        return self.folder / "test" / "coco.json"

    @property
    def web_shards(self) -> list[Path]:
        """The tar files of the web set, in order."""
        return sorted((self.folder / "web").glob("*.tar"))

    @property
    def web_truth(self) -> Path:
        """The true content of the web scenes, for reviewing programs and precision curves only."""
        return self.folder / "truth" / "web.jsonl"

    @property
    def manifest(self) -> Path:
        """Settings and digests of a complete world."""
        return self.folder / "world.json"


def build_world(
    folder: Path, settings: WorldSettings, progress: ProgressCallback | None = None
) -> tuple[World, bool]:
    """Return the world of `settings` under `folder`, and whether it had to be rendered.

    Raises ConflictError if the folder has the world of other settings.
    """
    world = World(folder)
    if world.manifest.exists():
        found = json.loads(world.manifest.read_text())["settings_digest"]
        if found != settings.digest():
            raise ConflictError(
                f"{folder} contains the world {found}, expected {settings.digest()}; choose another folder"
            )
        return world, False
    report = progress or (lambda label, done, total: None)
    report("gold", 0, 3)
    gold = write_gold(folder / "gold", "gold", draw_gold_scenes(settings), settings)
    report("test", 1, 3)
    test = write_gold(folder / "test", "test", draw_test_scenes(settings), settings)
    report("web", 2, 3)
    write_web(folder / "web", world.web_truth, settings)
    facts = {
        "settings_digest": settings.digest(),
        "settings": settings.model_dump(mode="json"),
        "gold_digest": gold.digest,
        "test_digest": test.digest,
    }
    world.manifest.write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")
    report("web", 3, 3)
    return world, True
