"""Read the imports of the product from its source: every import counts, inside functions and for types too."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

PACKAGES = ("schemas", "engine", "teacher", "student", "pipelines", "deploy", "groundswell")
# strings that begin with "groundswell." are names of entry-point groups and of metadata
_NAMES = "|".join(PACKAGES[:-1])
_PATH = re.compile(rf"({_NAMES})(\.[A-Za-z_]\w*)+(:[\w.]+)?")
_RUN = re.compile(rf"(.* )?-m ({'|'.join(PACKAGES)})\b.*")
_IMPORTERS = {"import_module", "__import__", "find_spec", "files", "run_module", "getLogger"}


@dataclass(frozen=True)
class SourceFile:
    """One Python file and its syntax tree. `path` is relative to the root."""

    path: Path
    tree: ast.Module

    @property
    def module(self) -> str:
        """Import name: `a/b/__init__.py` is `a.b`."""
        return ".".join(self.path.with_suffix("").parts).removesuffix(".__init__")

    @property
    def package(self) -> str:
        """Import name of the folder."""
        return ".".join(self.path.parent.parts)

    def walk(self, kind: type[ast.AST] | tuple[type[ast.AST], ...]) -> Iterator[ast.AST]:
        """Yield the nodes of a kind."""
        return (node for node in ast.walk(self.tree) if isinstance(node, kind))

    @cached_property
    def strings(self) -> list[tuple[int, str]]:
        """Line and value of each string constant that the program uses. Docstrings are none."""
        notes = {id(node.value) for node in self.walk(ast.Expr) if isinstance(node, ast.Expr)}
        nodes = [node for node in self.walk(ast.Constant) if isinstance(node, ast.Constant)]
        return [(n.lineno, n.value) for n in nodes if isinstance(n.value, str) and id(n) not in notes]


class ImportGraph:
    """The files of some top-level packages and what they import of each other."""

    def __init__(self, root: Path, packages: Iterable[str] = PACKAGES) -> None:
        self.files = [
            SourceFile(path.relative_to(root), ast.parse(path.read_text(encoding="utf-8")))
            for package in packages
            for path in sorted((root / package).rglob("*.py"))
        ]
        self.by_module = {file.module: file for file in self.files}

    @cached_property
    def edges(self) -> dict[str, set[str]]:
        """Imported files by importing file, as paths."""
        return {str(file.path): set(self._targets(file)) for file in self.files}

    @cached_property
    def folder_edges(self) -> dict[str, set[str]]:
        """The same between folders. A folder may import the folders inside it; that is no edge."""
        edges: dict[str, set[str]] = {}
        for path, targets in self.edges.items():
            folder = Path(path).parent
            others = {Path(target).parent for target in targets} - {folder}
            edges.setdefault(str(folder), set()).update(str(o) for o in others if folder not in o.parents)
        return edges

    def _targets(self, file: SourceFile) -> Iterator[str]:
        for name in imported_modules(file, self.by_module):
            target = self.by_module.get(name)
            if target is not None and target is not file:
                yield str(target.path)


def imported_modules(file: SourceFile, known: Mapping[str, SourceFile]) -> Iterator[str]:
    """Yield the full names of imported modules: of statements anywhere, and of strings that name a module."""
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, file)
            for alias in node.names:
                yield f"{base}.{alias.name}" if f"{base}.{alias.name}" in known else base
        elif isinstance(node, ast.JoinedStr):
            yield from _derived_names(node, file)
    yield from (text.split(":")[0] for _, text in file.strings if _PATH.fullmatch(text))


def quoted_paths(file: SourceFile, known: Mapping[str, SourceFile]) -> list[str]:
    """Return `file:line: text` of each string that names a module of ours, or hands a package's name to an importer."""
    paths = [
        (line, text)
        for line, text in file.strings
        if _PATH.fullmatch(text) and ".".join(text.split(":")[0].split(".")[:2]) in known
    ]
    paths += [(line, text) for line, text in file.strings if _RUN.fullmatch(text)]
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Call) and node.args and ast.unparse(node.func).split(".")[-1] in _IMPORTERS:
            first = node.args[0]
            if isinstance(first, ast.Constant) and first.value in PACKAGES:
                paths.append((node.lineno, ast.unparse(node)))
        elif (
            isinstance(node, ast.Tuple | ast.List | ast.Set) and file.module != PACKAGES[0]
        ):  # it lists them once
            names = {item.value for item in node.elts if isinstance(item, ast.Constant)}
            if len(names & set(PACKAGES)) >= 3:
                paths.append((node.lineno, ast.unparse(node)))
    return sorted(f"{file.path}:{line}: {text}" for line, text in set(paths))


def find_cycles(edges: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the groups of nodes that reach each other, by Tarjan's algorithm."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    cycles: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(edges.get(node, ())):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            place = stack.index(node)
            group = stack[place:]
            del stack[place:]
            if len(group) > 1:
                cycles.append(sorted(group))

    for node in sorted(edges):
        if node not in index:
            visit(node)
    return sorted(cycles)


def _absolute(node: ast.ImportFrom, file: SourceFile) -> str:
    if not node.level:
        return node.module or ""
    parts = file.package.split(".")
    return ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [node.module])])


def _derived_names(node: ast.JoinedStr, file: SourceFile) -> Iterator[str]:
    """Yield the name that an f-string such as `f"{__name__}.auto"` makes, if it is known before the program runs."""
    if len(node.values) == 2 and isinstance(node.values[0], ast.FormattedValue):
        start = {"__name__": file.module, "__package__": file.package}.get(ast.unparse(node.values[0].value))
        rest = node.values[1]
        if start is not None and isinstance(rest, ast.Constant) and str(rest.value).startswith("."):
            yield f"{start}{rest.value}".split(":")[0]
