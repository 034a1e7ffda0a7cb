"""Read configuration, processor and tokenizer of a GLIP directory, before its weights.

A missing file is an error. transformers would use defaults instead, which give other results.
"""

from __future__ import annotations

import json
from pathlib import Path

from schemas.errors import ConfigError, NotFoundError
from teacher.models.glip.config import GlipConfig
from teacher.models.glip.processing import GlipProcessor
from teacher.models.weight_files import suggest_model_folder

_CONFIG = "config.json"
_REQUIRED = ((_CONFIG,), ("processor_config.json", "preprocessor_config.json"), ("tokenizer_config.json",))


def read_directory(folder: str | Path) -> tuple[GlipConfig, GlipProcessor]:
    """Return configuration and processor. Raises NotFoundError for a missing file, ConfigError for a broken one."""
    where = Path(folder)
    if missing := [names[0] for names in _REQUIRED if not any((where / name).is_file() for name in names)]:
        raise NotFoundError(
            f"{folder} has no {', '.join(missing)}, which a model directory of GLIP has; copy all of its files"
            f"{suggest_model_folder(where)}"
        )
    try:
        kind = json.loads((where / _CONFIG).read_text(encoding="utf-8"))["model_type"]
        if kind != GlipConfig.model_type:
            raise ConfigError(
                f"{folder} is a model of type {kind!r}, expected one of type {GlipConfig.model_type}; give a directory "
                "that `groundswell train` or `groundswell model convert-glip` wrote"
            )
        config = GlipConfig.from_pretrained(where, local_files_only=True)
        return config, GlipProcessor.from_pretrained(where, local_files_only=True, trust_remote_code=False)
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:  # of transformers, for broken files
        raise ConfigError(
            f"{folder}: its configuration, processor or tokenizer cannot be read ({type(error).__name__}: "
            f"{str(error)[:200]}); copy the model again"
        ) from error
