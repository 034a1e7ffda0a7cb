"""The registry of verbs: files in `pipelines/cli/verbs/`, and entry points of other packages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from pipelines.cli import verbs
from pipelines.cli.verb import VerbFamily
from pipelines.terminal.output import print_message
from schemas.errors import ConfigError
from schemas.registry import Registry

GROUP = "groundswell.verbs"


def list_families() -> list[VerbFamily]:
    """Return all families of verbs in the order of the help. Raises ConfigError when two verbs have one name."""
    families = sorted(_load_families(), key=lambda family: family.order)
    counts = Counter(name for family in families for name in family.top_level_names())
    if twice := sorted(name for name, count in counts.items() if count > 1):
        raise ConfigError(
            f"two packages add the verb {twice[0]!r} (entry-point group {GROUP}); uninstall one or rename its verb"
        )
    return families


def _load_families() -> Iterable[VerbFamily]:
    """Import every family. The built-in modules are light: what a verb needs is imported when it runs.

    A family of another package that cannot be loaded is reported and left out, so that the other verbs still work.
    """
    registry = Registry(verbs.__name__, VerbFamily, noun="verb family", group=GROUP)
    return registry.load_all(_report_left_out).values()


def _report_left_out(name: str, error: ConfigError) -> None:
    print_message(
        f"warning: the verbs of {name!r} are left out ({error}); repair or uninstall the package that adds them"
    )
