"""Make GLIP known to the Auto classes of `transformers` without importing them.

`transformers` takes seconds to import. So the registration waits until one of its Auto modules is imported: a finder
on `sys.meta_path` runs it right after that module.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


def _register_config() -> None:
    """Register the configuration alone: the model's module needs an Auto module that is not complete yet."""
    from transformers.models.auto.configuration_auto import AutoConfig

    from teacher.models.glip.config import GlipConfig

    AutoConfig.register(GlipConfig.model_type, GlipConfig, exist_ok=True)


def _register_all() -> None:
    from teacher.models.glip import auto  # noqa: F401 - its import registers configuration, models and processor


_REGISTRATIONS: dict[str, Callable[[], None]] = {
    "transformers.models.auto.configuration_auto": _register_config,
    "transformers.models.auto.modeling_auto": _register_all,
    "transformers.models.auto.processing_auto": _register_all,
}


class _Finder(MetaPathFinder):
    """Finds the Auto modules as the path does and gives them a loader that registers GLIP afterwards."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return None for any other module, which leaves it to the usual finders."""
        if fullname not in _REGISTRATIONS:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, _REGISTRATIONS[fullname])
        return spec


class _Loader(Loader):
    """Runs a function after another loader has executed the module."""

    def __init__(self, loader: Loader, after: Callable[[], None]) -> None:
        self._loader, self._after = loader, after

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Create the module as the wrapped loader does."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module, then register GLIP."""
        self._loader.exec_module(module)
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._after()


def register_when_imported() -> None:
    """Register GLIP with each Auto module, now if it is imported already, else right after its import."""
    for name, register in _REGISTRATIONS.items():
        if name in sys.modules:
            register()
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
