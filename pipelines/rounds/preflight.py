"""What rounds read beside the shards, looked at before anything is labelled: hours later is too late to miss it."""

from __future__ import annotations

from pathlib import Path

from engine.views import open_view
from pipelines.rounds.settings import VIEW, RoundsConfig, Suite
from schemas.errors import ConfigError, NotFoundError


def check_inputs(config: RoundsConfig) -> None:
    """Raises NotFoundError and ConfigError for gold, streams, suites, images or groups that are not there."""
    open_view(config.gold)
    for training in (config.student, config.control):
        for url in sorted({stream["url"] for stream in training["streams"]} - {VIEW}):
            open_view(url)
    groups = {suite.name: _groups(suite) for suite in config.evaluate}
    for measure in (config.target, *config.guards):
        if measure.group and measure.group not in groups[measure.suite]:
            raise ConfigError(
                f"{measure.label()}: suite {measure.suite} has no group {measure.group!r}; its groups are "
                f"{', '.join(sorted(groups[measure.suite])) or 'none'} (group_by)"
            )


def _groups(suite: Suite) -> set[str]:
    """The groups of a suite whose gold can be read and whose images are somewhere."""
    from student.evaluate.gold.load import category_groups, read_gold

    gold = read_gold(Path(suite.gold))
    if suite.images is None and not any(image.get("pixels") for image in gold["images"]):
        raise ConfigError(f"suite {suite.name}: its gold names no images; give images")
    local = (
        suite.images is not None
        and "://" not in suite.images
        and not suite.images.endswith((".tar", ".parquet"))
    )
    if local and not Path(str(suite.images)).is_dir():
        raise NotFoundError(f"suite {suite.name}: images {suite.images} is no folder and no shards")
    return set(category_groups(gold, suite.group_by))
