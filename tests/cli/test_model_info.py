"""`model info` of a damaged model directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.cli.model_info import describe_model
from schemas.errors import ConfigError, NotFoundError
from teacher.models.glip.modeling import GlipForGrounding

HEADER = (2).to_bytes(8, "little") + b"{}"


@pytest.mark.parametrize(
    "config, weights, named",
    [(b"{", HEADER, "config.json"), (b"[]", HEADER, "config.json"), (b"{}", HEADER[:3], "model.safetensors")],
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, config: bytes, weights: bytes, named: str
) -> None:
    (tmp_path / "config.json").write_bytes(config)
    (tmp_path / "model.safetensors").write_bytes(weights)

    with pytest.raises(ConfigError, match=named):
        describe_model(tmp_path)


def test_weights_that_were_cut_short_are_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "glip"}')
    (tmp_path / "model.safetensors").write_bytes(HEADER[:5])

    with pytest.raises(ConfigError, match="weights cannot be read"):
        GlipForGrounding.from_pretrained(tmp_path)


def test_a_hub_id_is_located_and_one_without_a_commit_is_told_apart_from_a_path() -> None:
    with pytest.raises(NotFoundError, match="named with its commit: owner/model@<40"):
        describe_model(Path("owner/model"))
