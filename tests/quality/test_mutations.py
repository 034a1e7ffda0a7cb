"""Every declared mutation still finds its line and its test. `python -m tests.mutations tests` runs them (slow)."""

import ast

import pytest

from tests.mutations import ROOT, Mutation, find_mutations, run_mutation


@pytest.fixture(scope="module")
def mutations():
    return find_mutations([ROOT / "tests"])


def test_every_mutation_finds_its_line_once(mutations):
    stale = [
        (str(module.relative_to(ROOT)), one.file, one.old)
        for module, one in mutations
        if (ROOT / one.file).read_text(encoding="utf-8").count(one.old) != 1
    ]

    assert len(mutations) > 100 and stale == []


def test_every_mutation_names_a_test_of_its_module(mutations):
    missing = []
    for module, one in mutations:
        tree = ast.parse(module.read_bytes())
        names = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        if not any(one.test.split("[")[0] in name for name in names):
            missing.append((str(module.relative_to(ROOT)), one.test))

    assert missing == []


@pytest.mark.slow
def test_a_removed_guard_is_noticed_and_a_change_of_nothing_is_not():
    module = ROOT / "tests/teacher/test_user_class.py"
    guard = Mutation(
        "teacher/user_class.py", "if len(numbers) != 4 or not 0 <= place < phrases:", "if len(numbers) != 4:",
        "test_an_answer_of_another_form_ends_the_run",
    )  # fmt: skip
    nothing = Mutation(guard.file, guard.old, guard.old + "  # the same", guard.test)

    assert run_mutation(guard, module)
    assert not run_mutation(nothing, module)
