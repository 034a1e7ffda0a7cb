"""The settings of an endpoint: what the digest covers, secrets, and settings files that are none."""

import pytest
from pydantic import ValidationError

from schemas.errors import ConfigError, NotFoundError
from teacher.factories import labeler_digest, make_labeler
from teacher.vlm.settings import VlmSettings
from tests.mutations import Mutation
from tests.teacher.vlm.chat_server import KEY


def test_the_digest_covers_what_is_asked_and_the_revision_but_not_the_place_or_pace(settings, monkeypatch):
    monkeypatch.setenv("VLM_TEST_KEY", KEY)
    own = labeler_digest(settings())
    elsewhere = {
        "base_url": "https://example.org/v1/", "api_key_env": "VLM_TEST_KEY", "requests_per_minute": 9,
        "concurrency": 2, "timeout_s": 5, "retries": 1, "give_up_after_s": 7, "answers": "answers",
    }  # fmt: skip
    other = {
        "model": "m", "revision": "r", "style": "qwen3", "max_side": 640, "image_format": "png", "max_phrases": 2,
        "max_tokens": 99, "seed": 1, "request": {"top_k": 1},
    }  # fmt: skip

    assert labeler_digest(settings(**elsewhere)) == own
    assert (
        len({own, *(labeler_digest(settings(**{name: value})) for name, value in other.items())})
        == len(other) + 1
    )
    assert settings().keys() | elsewhere.keys() | other.keys() == set(VlmSettings.model_fields)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"api_key": KEY}, "teacher.api_key is not a setting.*api_key_env"),
        ({"api_key_env": KEY}, "api_key_env is not the name of an environment variable"),
        ({"base_url": f"https://user:{KEY}@host/v1"}, "base_url contains '@'"),
        ({"base_url": f"https://host/v1?key={KEY}"}, "base_url contains '@' or '\\?'"),
    ],
)
def test_a_key_in_the_settings_is_refused_and_not_repeated(settings, changes, message):
    with pytest.raises(ConfigError, match=message) as error:
        make_labeler(settings(**changes), 1, 0.05)

    assert KEY not in str(error.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"revision": ""}, {"revision": None}, {"style": "qwen"}, {"base_url": "host/v1"}, {"answers": "s3://a/b"},
        {"request": {"messages": []}}, {"unknown": KEY},
    ],
    ids=str,
)  # fmt: skip
def test_wrong_settings_are_refused_without_their_values(settings, changes):
    with pytest.raises(ValidationError) as error:
        make_labeler(settings(**changes), 1, 0.05)

    assert KEY not in str(error.value)


def test_a_settings_file_that_is_none_is_refused_with_its_reason(settings, tmp_path):
    (tmp_path / "glip.yaml").write_text("kind: glip\nmodel: a\n")
    (tmp_path / "bare.yml").write_text("kind: vlm\n")
    (tmp_path / "loop.yml").write_text("kind: vlm\nmodel: loop.yml\n")

    for name, message in (
        ("glip.yaml", "kind: vlm"),
        ("bare.yml", "model is None"),
        ("loop.yml", "model is 'loop"),
    ):
        with pytest.raises(ConfigError, match=message):
            labeler_digest({"kind": "vlm", "model": str(tmp_path / name)})
    with pytest.raises(NotFoundError, match="does not exist; expected a settings file"):
        labeler_digest({"kind": "vlm", "model": str(tmp_path / "gone.yaml")})


_SETTINGS = "teacher/vlm/settings.py"
MUTATIONS = (
    Mutation(_SETTINGS, "        cls._refuse_secrets(values)\n", "", "test_a_key_in_the_settings"),
    Mutation(_SETTINGS, "hide_input_in_errors=True", "", "test_wrong_settings"),
    Mutation(_SETTINGS, '        "concurrency",\n', "", "test_the_digest_covers"),
    Mutation(
        _SETTINGS, "isinstance(model, str) or model.endswith(_SUFFIXES)", "model", "test_a_settings_file"
    ),
)
