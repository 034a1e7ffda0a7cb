"""Compile a policy: from evidence to a view, as `groundswell compile` does."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path

from engine.settings import StorageSettings
from groundswell.label_table import LabelTable
from pipelines.compile.policy import Policy
from pipelines.compile.report import CompileReport
from pipelines.compile.run import compile_view, inherit_stored_fields
from pipelines.config.folder_kind import FolderKind
from pipelines.config.load import load_settings, parse_settings
from pipelines.config.output_place import check_folder
from schemas.rows import EvidenceRow

PolicyValue = (
    str
    | int
    | float
    | bool
    | None
    | tuple[float, float]
    | list[float]
    | Mapping[str, str | int | float | bool | None | list[float]]
)


def compile(
    evidence: str | LabelTable[EvidenceRow],
    policy: str | os.PathLike[str] | Mapping[str, PolicyValue] | Policy,
    *,
    to: str,
    overwrite: bool = False,
    storage: StorageSettings | None = None,
) -> CompileReport:
    """Write the view of the evidence's latest snapshot under a policy, and return what each rule kept and removed.

    evidence:  the URL of an output of `label`, or that output opened
    policy:    a YAML file, the same as a dictionary, or a Policy
    to:        folder or URL of the view; open it with `open_view`
    overwrite: replace another view there
    storage:   endpoint and options of the file systems. By default those that the evidence was opened with
    raises:    ConfigError for a wrong policy, ConflictError if `to` has other content, NotFoundError without evidence
    """
    if isinstance(evidence, str):
        source = evidence
    else:
        source, storage = evidence.url, storage or evidence.storage
    rules = _load_policy(policy)
    check_folder("to", to, (FolderKind.VIEW, FolderKind.PARTS), storage=storage, overwrite=overwrite)
    if not overwrite:
        rules = inherit_stored_fields(rules, to, lambda text: warnings.warn(text, stacklevel=4), storage)
    return compile_view(source, rules, to, storage=storage, overwrite=overwrite)


def _load_policy(policy: str | os.PathLike[str] | Mapping[str, PolicyValue] | Policy) -> Policy:
    if isinstance(policy, Policy):
        return policy
    if isinstance(policy, Mapping):
        return parse_settings(dict(policy), Policy, (), "policy")
    return load_settings(Path(policy), Policy)
