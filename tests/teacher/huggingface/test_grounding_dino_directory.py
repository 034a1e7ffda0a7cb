"""Directories of Grounding DINO and MM-Grounding-DINO: digests, and what is refused before or while they are loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertTokenizerFast
from transformers.utils import logging
from typer.testing import CliRunner

from pipelines.cli import build_app
from schemas.errors import ConfigError, NotFoundError, SampleRejectedError
from teacher.factories import labeler_digest
from teacher.registry import recognize_model
from tests.mutations import Mutation
from tests.teacher.huggingface.grounding_dinos import KINDS, TinyDino, as_rows, check_same, label, prepare
from tests.teacher.huggingface.tiny_models import bert_vocabulary

Weights = dict[str, torch.Tensor]


def copy_model(dino: TinyDino, folder: Path) -> TinyDino:
    """Return a copy of a model that a test may change."""
    shutil.copytree(dino.folder, folder / "copy")
    return replace(dino, folder=folder / "copy")


def change_weights(dino: TinyDino, change: Callable[[Weights], Weights]) -> None:
    weights = change(load_file(dino.folder / "model.safetensors"))
    save_file(weights, dino.folder / "model.safetensors", metadata={"format": "pt"})


def change_config(dino: TinyDino, **values: object) -> None:
    path = dino.folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def digest(dino: TinyDino, **settings: str | int | bool) -> str:
    return labeler_digest({"kind": dino.kind, "model": str(dino.folder), **settings})


def fill(weights: Weights, part: str, value: float) -> Weights:
    """Return the weights with a value in all tensors whose names have a part."""
    assert any(part in name for name in weights)
    return {
        name: torch.full_like(tensor, value) if part in name else tensor for name, tensor in weights.items()
    }


def test_the_digest_covers_weights_and_settings_and_not_the_place(dino: TinyDino, tmp_path: Path) -> None:
    copy = copy_model(dino, tmp_path)
    (copy.folder / "README.md").write_text("a model card")
    (copy.folder / "modeling_own.py").write_text("raise SystemExit")
    own = digest(dino)

    assert own == digest(copy) == digest(copy, device="cpu") == dino.build().digest
    changes = [{"precision": "bf16"}, {"pool": "mean"}, {"prompt": "auto"}, {"pad_multiple": 64}]
    changes += [{"compile": True}, {"channels_last": True}]
    assert len({own, *(digest(dino, **change) for change in changes)}) == 7
    for name in ("tokenizer_config.json", "processor_config.json"):
        text = (copy.folder / name).read_text()
        (copy.folder / name).write_text(text + "\n")
        assert digest(copy) != own
        (copy.folder / name).write_text(text)
    change_weights(copy, lambda weights: fill(weights, "bbox_embed.0.layers.0.bias", 1.0))
    assert digest(copy) != own


def test_each_kind_has_a_score_kind_and_a_digest_of_its_own(dino: TinyDino) -> None:
    assert dino.build().score_kind == f"{dino.kind.replace('-', '_')}.token_score"
    assert recognize_model(dino.folder)[0] == dino.kind


def test_a_directory_of_another_kind_is_refused(dino: TinyDino) -> None:
    (other,) = (kind for kind in KINDS if kind != dino.kind)

    with pytest.raises(
        ConfigError, match=f"has model_type '{dino.kind}', and the teacher {other} needs {other}"
    ):
        digest(replace(dino, kind=other))
    with pytest.raises(ConfigError, match="correct teacher.kind or teacher.model"):
        replace(dino, kind=other).build()


def test_model_info_describes_the_directory(dino: TinyDino) -> None:
    answer = CliRunner().invoke(build_app(), ["model", "info", str(dino.folder)])

    assert answer.exit_code == 0, answer.stderr
    assert dino.kind in answer.stdout and "model.safetensors" in answer.stdout


@pytest.mark.parametrize("part", ["text_projection.bias", "bbox_embed.0.layers.2.bias"])
def test_weights_that_give_no_numbers_reject_the_sample(dino: TinyDino, tmp_path: Path, part: str) -> None:
    broken = copy_model(dino, tmp_path)
    change_weights(broken, lambda weights: fill(weights, part, float("nan")))
    labeler = broken.build()

    with pytest.raises(SampleRejectedError, match="TEACHER_NONFINITE"):
        label(labeler, prepare(labeler))


def test_a_directory_with_pickles_alone_is_refused(dino: TinyDino, tmp_path: Path) -> None:
    pickled = copy_model(dino, tmp_path)
    torch.save(load_file(pickled.folder / "model.safetensors"), pickled.folder / "pytorch_model.bin")
    (pickled.folder / "model.safetensors").unlink()

    for ask in (pickled.build, lambda: digest(pickled)):
        with pytest.raises(NotFoundError, match=r"only pytorch_model.bin, which can run code"):
            ask()


def test_code_files_next_to_the_weights_never_run(dino: TinyDino, tmp_path: Path) -> None:
    """Each `auto_map` names a file that leaves a mark when it is imported."""
    planted = copy_model(dino, tmp_path)
    mark = tmp_path / "executed"
    (planted.folder / "own.py").write_text(f"open({str(mark)!r}, 'w').close()\nclass Own: ...\n")
    names = (
        "AutoConfig",
        "AutoModel",
        "AutoModelForZeroShotObjectDetection",
        "AutoProcessor",
        "AutoImageProcessor",
    )
    auto_map: dict[str, object] = dict.fromkeys(names, "own.Own")
    auto_map["AutoTokenizer"] = ["own.Own", "own.Own"]
    for name in ("config.json", "tokenizer_config.json", "processor_config.json"):
        path = planted.folder / name
        path.write_text(json.dumps({**json.loads(path.read_text()), "auto_map": auto_map}))

    labeler = planted.build()

    check_same(as_rows(label(labeler, prepare(labeler))), as_rows(label(dino.build(), prepare(labeler))))
    assert not mark.exists()


def test_missing_weights_are_refused_and_not_made_up(dino: TinyDino, tmp_path: Path) -> None:
    cut = copy_model(dino, tmp_path)
    change_weights(cut, lambda weights: {n: w for n, w in weights.items() if "text_projection" not in n})

    with pytest.raises(ConfigError, match=r"lacks 2 weights of .*text_projection.bias, .*copy all files"):
        cut.build()


def test_weights_that_cannot_be_read_are_an_error_with_a_remedy(dino: TinyDino, tmp_path: Path) -> None:
    broken = copy_model(dino, tmp_path)
    whole = (broken.folder / "model.safetensors").read_bytes()
    (broken.folder / "model.safetensors").write_bytes(whole[:5000])
    with pytest.raises(ConfigError, match=r"cannot be loaded .*; copy all files of the model again"):
        broken.build()

    (broken.folder / "model.safetensors").write_bytes(whole)
    change_config(broken, num_queries=31)
    with pytest.raises(ConfigError, match="cannot be loaded"):
        broken.build(min_score=0.1)


def test_a_tokenizer_with_other_separators_is_refused(dino: TinyDino, tmp_path: Path) -> None:
    """The model class has the ids of bert-base-uncased in its code."""
    other = copy_model(dino, tmp_path)
    words = bert_vocabulary()
    words["."], words["[unused5]"] = words["[unused5]"], words["."]
    BertTokenizerFast(vocab=words, do_lower_case=True).save_pretrained(other.folder)

    with pytest.raises(ConfigError, match=r"'\.': 5, .*use the tokenizer that was published with the model"):
        other.build()


def test_a_smaller_text_limit_of_the_model_is_kept(dino: TinyDino, tmp_path: Path) -> None:
    small = copy_model(dino, tmp_path)
    change_config(small, max_text_len=10)
    labeler = small.build()

    row = prepare(labeler)

    assert [len(question.text.input_ids) for question in row.inputs.questions] == [9, 5]
    assert row.bucket[2] == 10 and {r.pass_index for r in label(labeler, row)} == {0, 1}


def test_weights_saved_in_half_precision_run_in_single_precision(dino: TinyDino, tmp_path: Path) -> None:
    half = copy_model(dino, tmp_path)
    change_weights(half, lambda weights: {n: w.half() for n, w in weights.items()})
    change_config(half, dtype="float16")
    labeler = half.build()

    rows = as_rows(label(labeler, prepare(labeler)))

    assert next(iter(labeler.model.parameters())).dtype is torch.float32  # type: ignore[attr-defined]
    assert np.isfinite(rows).all() and len(rows) > 50


def test_loading_writes_nothing_to_the_terminal(
    dino: TinyDino, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    extra = copy_model(dino, tmp_path)
    change_weights(extra, lambda weights: {**weights, "unexpected": torch.zeros(1)})
    shown, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.enable_progress_bar()
    try:
        extra.build()
        captured = capfd.readouterr()
        assert (captured.out, captured.err) == ("", "")
        assert logging.get_verbosity() == verbosity and logging.is_progress_bar_enabled()
        list(logging.tqdm(range(2), desc="bars of others"))
        assert "bars of others" in capfd.readouterr().err
    finally:
        if not shown:
            logging.disable_progress_bar()


ENTRY = "teacher/huggingface/entry.py"
LOADING = "teacher/huggingface/loading.py"
LABELER = "teacher/labelers/grounding_dino.py"
CODE = test_code_files_next_to_the_weights_never_run.__name__
QUIET = test_loading_writes_nothing_to_the_terminal.__name__
DIGEST = test_the_digest_covers_weights_and_settings_and_not_the_place.__name__
MUTATIONS = (
    Mutation(ENTRY, 'exclude={"kind", "model", "device"}', 'exclude={"kind", "model"}', DIGEST),
    Mutation(
        ENTRY,
        'exclude={"kind", "model", "device"}',
        'exclude={"kind", "model", "device", "precision"}',
        DIGEST,
    ),
    Mutation(
        ENTRY,
        "if not self.recognizes(folder):",
        "if False:",
        test_a_directory_of_another_kind_is_refused.__name__,
    ),
    Mutation(
        ENTRY,
        '"local_files_only": True, "trust_remote_code": False}',
        '"local_files_only": True, "trust_remote_code": True}',
        CODE,
    ),
    Mutation(
        ENTRY,
        '    "dtype": "float32",\n',
        "",
        test_weights_saved_in_half_precision_run_in_single_precision.__name__,
    ),
    Mutation(
        LOADING, "    if missing:", "    if False:", test_missing_weights_are_refused_and_not_made_up.__name__
    ),
    Mutation(
        LOADING,
        "except (OSError, ValueError, RuntimeError, SafetensorError)",
        "except KeyError",
        test_weights_that_cannot_be_read_are_an_error_with_a_remedy.__name__,
    ),
    Mutation(LOADING, '{**options, "disable": True}', "options", QUIET),
    Mutation(LOADING, "    logging.set_verbosity_error()\n", "", QUIET),
    Mutation(LOADING, "        logging.set_tqdm_hook(hook)\n", "", QUIET),
    Mutation(LOADING, "        logging.set_verbosity(verbosity)\n", "", QUIET),
    Mutation(
        LABELER,
        "if ids != _SEPARATOR_IDS:",
        "if False:",
        test_a_tokenizer_with_other_separators_is_refused.__name__,
    ),
    Mutation(
        LABELER,
        '.get("max_text_len", _MAX_TOKENS)',
        '.get("", _MAX_TOKENS)',
        test_a_smaller_text_limit_of_the_model_is_kept.__name__,
    ),
    Mutation(
        "teacher/labelers/mm_grounding_dino.py",
        "MMGroundingDinoLabeler(settings, options",
        "GroundingDinoLabeler(settings, options",
        test_each_kind_has_a_score_kind_and_a_digest_of_its_own.__name__,
    ),
)
