"""The average of two models is one, weight by weight, and only of models that fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from schemas.digests import sha256_hex
from schemas.errors import ConflictError, NotFoundError
from student.data.trained_images import digest_prefixes, read_trained_images, write_prefixes
from student.models.averaging import average_models


def model(folder: Path, weight: float, rows: int = 2) -> Path:
    folder.mkdir()
    tensors = {"head.weight": torch.full((rows, 3), weight), "norm.steps": torch.tensor([int(weight)])}
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text("{}")
    return folder


def test_each_weight_lies_between_both_by_the_share(tmp_path: Path) -> None:
    student, teacher = model(tmp_path / "student", 4.0), model(tmp_path / "teacher", 8.0)

    average_models(student, teacher, 0.25, tmp_path / "average")

    found = load_file(tmp_path / "average/model.safetensors")
    assert torch.equal(found["head.weight"], torch.full((2, 3), 5.0))
    assert found["norm.steps"].item() == 4  # a count is the student's
    assert (tmp_path / "average/config.json").read_text() == "{}"


def test_a_share_of_none_is_the_student_bit_by_bit(tmp_path: Path) -> None:
    student, teacher = model(tmp_path / "student", 0.1), model(tmp_path / "teacher", 8.0)

    average_models(student, teacher, 0.0, tmp_path / "average")

    ours, found = (load_file(path / "model.safetensors") for path in (student, tmp_path / "average"))
    assert all(torch.equal(value, found[name]) for name, value in ours.items())


def test_the_average_was_trained_on_the_images_of_both(tmp_path: Path) -> None:
    student, teacher = model(tmp_path / "student", 4.0), model(tmp_path / "teacher", 8.0)
    write_prefixes(student, digest_prefixes(["0" * 63 + "1", "a" * 64]))
    write_prefixes(teacher, digest_prefixes(["b" * 64, "a" * 64]))

    average_models(student, teacher, 0.5, tmp_path / "average")

    assert (
        read_trained_images(tmp_path / "average").tolist()
        == digest_prefixes(["0" * 64, "a" * 64, "b" * 64]).tolist()
    )


def test_the_card_of_an_average_does_not_pass_for_the_students(tmp_path: Path) -> None:
    student, teacher = model(tmp_path / "student", 4.0), model(tmp_path / "teacher", 8.0)
    (student / "README.md").write_text("---\nlicense: unknown\n---\n# A GLIP model\n- weights: sha256 `s`\n")

    average_models(student, teacher, 0.3, tmp_path / "average")

    card = (tmp_path / "average/README.md").read_text()
    assert card.startswith("---\nlicense: unknown\n---\n# The average of a student and its teacher")
    for share, folder in (("70%", student), ("30%", teacher)):
        digest = sha256_hex((folder / "model.safetensors").read_bytes())
        assert any(line.startswith(f"- {share} of") and digest in line for line in card.splitlines())
    assert card.index("What follows is the student's own card") < card.index("# A GLIP model")


def test_models_of_other_shapes_are_refused_by_name(tmp_path: Path) -> None:
    student, teacher = model(tmp_path / "student", 1.0), model(tmp_path / "teacher", 1.0, rows=5)
    with pytest.raises(ConflictError, match=r"head.weight is \(2, 3\) in .*student and \(5, 3\)"):
        average_models(student, teacher, 0.5, tmp_path / "average")
    assert not (tmp_path / "average").exists()


def test_a_folder_without_weights_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFoundError, match="has no model.safetensors"):
        average_models(tmp_path / "empty", tmp_path / "empty", 0.5, tmp_path / "average")
