"""A wrong configuration is reported with its place, its value and the remedy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import Field

from pipelines.compile.policy import Policy
from pipelines.config import load_settings, parse_overrides
from schemas.errors import ConfigError, NotFoundError
from schemas.settings import EvidenceSettings, Settings


class Small(Settings):
    evidence: EvidenceSettings = EvidenceSettings()
    urls: list[str] = Field(description="where")


class Rated(Small):
    rate: float = 1.0


def write(folder: Path, text: str) -> Path:
    path = folder / "job.yaml"
    path.write_text(text)
    return path


def test_a_misspelled_field_is_reported_with_its_line_and_the_nearest_name(tmp_path: Path) -> None:
    path = write(tmp_path, "urls: [a]\nevidence:\n  min_scores: 0.1\n")

    with pytest.raises(ConfigError) as caught:
        load_settings(path, Small)

    assert caught.value.where == f"{path}:3:3"
    assert "evidence.min_scores" in str(caught.value)
    assert "did you mean 'min_score'?" in str(caught.value)


def test_a_value_out_of_range_is_reported_with_the_value(tmp_path: Path) -> None:
    path = write(tmp_path, "urls: [a]\nevidence: {min_score: 7}\n")

    with pytest.raises(
        ConfigError, match=r"job.yaml:2:12: evidence.min_score: .*less than or equal to 1; found 7"
    ):
        load_settings(path, Small)


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan"])
def test_a_number_that_is_not_finite_is_refused_where_no_bound_catches_it(tmp_path: Path, value: str) -> None:
    path = write(tmp_path, f"urls: [a]\nrate: {value}\n")

    with pytest.raises(ConfigError, match=r"job.yaml:2:1: rate: .*finite number; found"):
        load_settings(path, Rated)


def test_conflicting_fields_are_reported_without_an_empty_name(tmp_path: Path) -> None:
    path = write(tmp_path, "min_score: 0.1\nignore_score: 0.9\n")

    with pytest.raises(
        ConfigError, match=r"policy.yaml:1:1: as a whole: ignore_score 0.9 is above min_score"
    ):
        load_settings(path.rename(tmp_path / "policy.yaml"), Policy)


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="urls: this field is missing"):
        load_settings(write(tmp_path, "evidence: {}\n"), Small)


def test_broken_yaml_is_reported_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"job.yaml:\d+:\d+: not valid YAML"):
        load_settings(write(tmp_path, "urls: [a\nevidence: {\n"), Small)


@pytest.mark.parametrize(
    "text",
    ["urls: !!python/object/apply:os.system ['true']\n", "urls: [!!python/name:os.system x]\n"],
)
def test_a_tag_that_would_build_an_object_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        load_settings(write(tmp_path, text), Small)


def test_globs_and_ampersands_in_text_are_not_aliases(tmp_path: Path) -> None:
    globs = [f"/shards/{number}/*.tar" for number in range(60)] + ["/shards/cats&dogs/*.tar"]

    assert load_settings(write(tmp_path, f"urls: {globs}\n"), Small).urls == globs


def test_a_few_aliases_that_double_and_double_are_refused(tmp_path: Path) -> None:
    rows = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 24)]

    with pytest.raises(ConfigError, match="aliases are written out"):
        load_settings(write(tmp_path, "\n".join(rows)), Small)


@pytest.mark.parametrize("value", ["2026-01-01", "!thing 1"])
def test_a_value_of_another_type_is_reported_with_its_place(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError, match=r"job.yaml:2:6: .* is not allowed"):
        load_settings(write(tmp_path, f"urls:\n  -  {value}\n"), Small)


def test_a_billion_laughs_are_refused(tmp_path: Path) -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]

    with pytest.raises(ConfigError, match="aliases"):
        load_settings(write(tmp_path, "\n".join(rows)), Small)


def test_an_override_wins_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "urls: [a]\nevidence: {min_score: 0.1}\n")

    settings = load_settings(path, Small, ["evidence.min_score=0.2", "urls=[b, c]"])

    assert (settings.evidence.min_score, settings.urls) == (0.2, ["b", "c"])


def test_an_override_without_a_value_is_refused() -> None:
    with pytest.raises(ConfigError, match="NAME=VALUE"):
        parse_overrides(["evidence.min_score"])


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"nowhere.yaml"):
        load_settings(tmp_path / "nowhere.yaml", Small)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("urls: " + "[" * 5_000, "not valid YAML"),
        ("urls: [a]\nurls: [b]", "duplicate key"),
        ("urls: [a]\x00", "not valid YAML"),
    ],
)
def test_unusable_yaml_is_a_configuration_error(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_settings(write(tmp_path, text), Small)


def test_a_file_that_is_no_text_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_bytes(b"\x89PNG\r\n\xff\xfe")

    with pytest.raises(ConfigError, match="not UTF-8 text"):
        load_settings(tmp_path / "job.yaml", Small)


@pytest.mark.parametrize("value", ["[", "{", "!!python/object:os.system x", "*nothing"])
def test_an_override_that_is_no_yaml_is_a_configuration_error(value: str) -> None:
    with pytest.raises(ConfigError, match="the value is not valid YAML"):
        parse_overrides([f"urls={value}"])


def test_a_long_value_is_shortened_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(write(tmp_path, f"urls: {'x' * 5_000}"), Small)

    assert len(str(caught.value)) < 500


def test_a_rare_character_that_json_writes_as_two_escapes_is_one_and_half_of_it_is_refused(
    tmp_path: Path,
) -> None:
    text = json.dumps({"urls": ["dog 🐕"]})

    assert load_settings(write(tmp_path, text), Small).urls == ["dog 🐕"]
    with pytest.raises(ConfigError, match="job.yaml:1:.* contains half of a character"):
        load_settings(write(tmp_path, text.replace("\\udc15", "")), Small)


def test_a_mistake_of_an_override_names_the_option_and_not_a_line_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "urls: [a]\nevidence: {min_score: 0.1}\n")

    for override, said in {
        "evidence.min_score=7": r"--set evidence.min_score=7: evidence.min_score: .*found 7",
        "evidence.min_scor=0.3": r"--set .*: unknown field; did you mean 'min_score'\?",
        "urls.0=3": r"--set urls.0",
    }.items():
        with pytest.raises(ConfigError, match=said) as caught:
            load_settings(path, Small, [override])
        assert "job.yaml" not in str(caught.value)


def test_a_mistake_of_the_file_keeps_its_line_beside_an_override(tmp_path: Path) -> None:
    path = write(tmp_path, "urls: [a]\nevidence: {min_score: 7}\n")

    with pytest.raises(ConfigError, match=r"job.yaml:2:12: evidence.min_score"):
        load_settings(path, Small, ["urls=[b]"])


def test_a_field_in_the_wrong_section_is_suggested_by_its_whole_path_and_never_as_itself(
    tmp_path: Path,
) -> None:
    path = write(tmp_path, "urls: [a]\nmin_score: 0.1\n")

    with pytest.raises(ConfigError, match=r"min_score: unknown field; did you mean 'evidence.min_score'\?"):
        load_settings(path, Small)
