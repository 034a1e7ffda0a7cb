"""What a training starts from is a whole model of ours, or refused: nothing begins with random or default parts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from schemas.errors import ConfigError, GroundswellError, NotFoundError
from student.data.streams import load_streams
from student.models.start import load_start
from student.settings.streams import PromptMix
from student.settings.train import TrainSettings
from student.training.train import _check_prompt


def without_a_weight(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["alignment.text_projection.bias"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def of_another_type(folder: Path) -> None:
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**values, "model_type": "bert"}))


def with_defaults(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "glip"}')


def gone(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def junk(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("harm", "kind", "says"),
    [
        (without_a_weight, ConfigError, r"1 missing \(e.g. alignment.text_projection.bias\)"),
        (with_defaults, ConfigError, "are not those of its config.json: .* mismatched"),
        (of_another_type, ConfigError, "a model of type 'bert', expected one of type glip"),
        (gone("config.json"), NotFoundError, "has no config.json"),
        (gone("processor_config.json"), NotFoundError, "has no processor_config.json"),
        (gone("tokenizer_config.json"), NotFoundError, "has no tokenizer_config.json"),
        (gone("tokenizer.json"), ConfigError, "cannot be read"),
        (junk("config.json", "[]"), ConfigError, "cannot be read"),
        (junk("processor_config.json", "[1]"), ConfigError, "cannot be read"),
        (junk("tokenizer.json", "{}"), ConfigError, "cannot be read"),
    ],
)
def test_a_start_that_is_not_whole_is_refused(
    two_streams: TrainSettings, tmp_path: Path, harm: Callable, kind: type[GroundswellError], says: str
) -> None:
    shutil.copytree(two_streams.start, tmp_path / "start")
    harm(tmp_path / "start")

    with pytest.raises(kind, match=says):
        load_start(two_streams.model_copy(update={"start": str(tmp_path / "start")}))


def prompt_tuning(settings: TrainSettings, prompt: str) -> TrainSettings:
    prompts = PromptMix(detection=1, phrase_list=0, caption=0)
    streams = [{**one.model_dump(), "prompts": prompts} for one in settings.streams]
    return TrainSettings.model_validate(
        {**settings.model_dump(), "streams": streams, "tuning": "prompt", "tuning_prompt": prompt}
    )


@pytest.mark.parametrize("prompt", ["", "  ", ".", "cat. cat", "cat. ", "cat. ?"])
def test_a_prompt_to_be_tuned_names_different_nouns(two_streams: TrainSettings, prompt: str) -> None:
    with pytest.raises(ValidationError, match="expected different nouns separated by"):
        prompt_tuning(two_streams, prompt)


def test_a_prompt_of_nouns_that_no_image_has_is_refused_with_some_that_are_there(
    two_streams: TrainSettings,
) -> None:
    streams = load_streams(two_streams)
    noun = min(streams[0].root_counts)
    _check_prompt(f"{noun}. zebra", streams)

    with pytest.raises(ConfigError, match=f"no image has any of these nouns.*{noun}"):
        _check_prompt(f"{noun.upper()}. zebra", streams)
