"""Writes a whole tiny world into a folder, once; `world.json` is written last and says that it is complete."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pipelines.demo.world.gold import gold_scenes, held_out_scenes, write_labelled
from pipelines.demo.world.settings import WorldSettings
from pipelines.demo.world.web import write_web
from schemas.errors import ConflictError
from schemas.progress import ProgressCallback


@dataclass(frozen=True)
class World:
    """Where the parts of a written world lie."""

    folder: Path

    @property
    def gold_view(self) -> str:
        """Folder of the gold set in the view's form."""
        return str(self.folder / "gold" / "view")

    @property
    def gold_coco(self) -> Path:
        """Gold as COCO JSON; images lie in `images/` beside it."""
        return self.folder / "gold" / "coco.json"

    @property
    def test_view(self) -> str:
        """Folder of the held-out set in the view's form: phrases with their true boxes, for Recall@k."""
        return str(self.folder / "test" / "view")

    @property
    def test_coco(self) -> Path:
        """The held-out set as COCO JSON; images lie in `images/` beside it."""
        return self.folder / "test" / "coco.json"

    @property
    def web_shards(self) -> list[Path]:
        """The web set's tars in order."""
        return sorted((self.folder / "web").glob("*.tar"))

    @property
    def web_truth(self) -> Path:
        """What really stands in the web scenes, for stand-in reviewers and precision curves only."""
        return self.folder / "truth" / "web.jsonl"

    @property
    def manifest(self) -> Path:
        """Settings and digests of a complete world."""
        return self.folder / "world.json"


def build_world(
    folder: Path, settings: WorldSettings, progress: ProgressCallback | None = None
) -> tuple[World, bool]:
    """The world of `settings` under `folder`, and whether it had to be rendered.

    Raises ConflictError when the folder holds the world of other settings.
    """
    world = World(folder)
    if world.manifest.exists():
        found = json.loads(world.manifest.read_text())["settings_digest"]
        if found != settings.digest():
            raise ConflictError(
                f"{folder} holds the world {found}, not {settings.digest()}: choose another folder"
            )
        return world, False
    say = progress or (lambda label, done, total: None)
    say("gold", 0, 3)
    gold = write_labelled(folder / "gold", "gold", gold_scenes(settings), settings)
    say("test", 1, 3)
    test = write_labelled(folder / "test", "test", held_out_scenes(settings), settings)
    say("web", 2, 3)
    write_web(folder / "web", world.web_truth, settings)
    facts = {
        "settings_digest": settings.digest(),
        "settings": settings.model_dump(mode="json"),
        "gold_digest": gold.digest,
        "test_digest": test.digest,
    }
    world.manifest.write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")
    say("web", 3, 3)
    return world, True
