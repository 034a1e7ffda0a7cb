"""Check the inputs of rounds other than the shards before labeling begins, which may take hours."""

from __future__ import annotations

from pathlib import Path

from engine.views import open_view
from pipelines.rounds.settings import VIEW, RoundsConfig, Suite
from schemas.errors import ConfigError, NotFoundError
from student.settings.streams import StreamSettings


def check_inputs(config: RoundsConfig) -> None:
    """Check gold, streams, suites, images and groups. Raises NotFoundError and ConfigError for a missing one."""
    open_view(config.gold)
    for training in (config.student, config.control):
        for stream in map(StreamSettings.model_validate, training["streams"]):
            if stream.url != VIEW:
                open_view(stream.url, stream.storage)
    groups = {suite.name: _read_groups(suite) for suite in config.evaluate}
    for measure in (config.target, *config.guards):
        if measure.group and measure.group not in groups[measure.suite]:
            raise ConfigError(
                f"{measure.label()}: suite {measure.suite} has no group {measure.group!r}; expected one of "
                f"{', '.join(sorted(groups[measure.suite])) or 'none'}; correct the group or group_by"
            )


def _read_groups(suite: Suite) -> set[str]:
    """Return the groups of a suite. Checks that its gold can be read and that its images exist."""
    from student.evaluate.gold.load import category_groups, read_gold

    gold = read_gold(Path(suite.gold))
    if suite.images is None and not any(image.get("pixels") for image in gold["images"]):
        raise ConfigError(
            f"suite {suite.name}: the gold names no image files; set `images` of the suite to a folder or shards"
        )
    local = (
        suite.images is not None
        and "://" not in suite.images
        and not suite.images.endswith((".tar", ".parquet"))
    )
    if local and not Path(str(suite.images)).is_dir():
        raise NotFoundError(
            f"suite {suite.name}: images {suite.images} does not exist; give a folder or shards (*.tar, *.parquet)"
        )
    return set(category_groups(gold, suite.group_by))
