"""A registry lists a folder and installed packages without importing them, and names the remedy of every mistake."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from schemas.errors import ConfigError
from schemas.registry import Registry


@dataclass(frozen=True)
class Color:
    """An entry of the tests' set."""

    hue: int = 0


class Green(Color):
    """An entry type that a reference may name."""


class Needy(Color):
    """Cannot be made without arguments."""

    def __init__(self, hue: int) -> None:
        super().__init__(hue)


class Faulty(Color):
    """Raises when it is made."""

    def __init__(self) -> None:
        raise RuntimeError("no license file")


BLUE = Color(240)
NOT_A_COLOR = "blue"


@pytest.fixture
def colors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Registry[Color]:
    """A folder with two entries and a module that defines none, importable under a name of its own."""
    package = tmp_path / f"colors_{abs(hash(request.node.nodeid))}"
    package.mkdir()
    (package / "__init__.py").touch()
    entry = f"from {__name__} import Color\nENTRY = Color(%d)\n"
    (package / "red.py").write_text(entry % 0)
    (package / "dark_red.py").write_text(entry % 10)
    (package / "mixing.py").write_text("import no_such_library\nNO_ENTRY = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return Registry(
        package.name,
        Color,
        noun="color",
        group="groundswell.test_colors",
        setting="paint.color",
        name_of_file=lambda name: name.replace("_", "-"),
    )


def install(folder: Path, distribution: str, entry_points: str) -> None:
    """Make an installed distribution of entry points alone."""
    info = folder / f"{distribution}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[groundswell.test_colors]\n{entry_points}\n")


def test_a_folder_is_listed_without_importing_its_files(colors: Registry[Color]) -> None:
    assert colors.names() == ("dark-red", "red")
    assert not [name for name in sys.modules if name.endswith((".red", ".dark_red", ".mixing"))]


def test_an_entry_is_loaded_by_its_name_and_by_its_reference(colors: Registry[Color]) -> None:
    assert colors.load("dark-red") == Color(10)
    assert colors.load(colors.reference("dark-red")) is colors.load("dark-red")
    assert colors.load_all() == {"dark-red": Color(10), "red": Color(0)}


def test_a_reference_names_an_entry_or_a_class_in_any_module(colors: Registry[Color]) -> None:
    assert colors.load(f"{__name__}:BLUE") is BLUE
    assert isinstance(colors.load(f"{__name__}:Green"), Green)


def test_an_installed_package_adds_an_entry(colors: Registry[Color], tmp_path: Path) -> None:
    install(tmp_path, "bluepack", f"blue = {__name__}:BLUE")

    assert colors.names() == ("blue", "dark-red", "red")
    assert colors.load("blue") is BLUE


def test_a_broken_installed_package_is_reported_once_and_costs_only_its_own_entry(
    colors: Registry[Color], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "unfinished.py").write_text("ENTRY = (")
    install(tmp_path, "bluepack", f"blue = {__name__}:BLUE")
    install(tmp_path, "brokenpack", "broken = unfinished:ENTRY")

    for _ in range(2):
        assert list(colors.load_all()) == ["blue", "dark-red", "red"]

    [record] = caplog.records
    assert "'broken' (groundswell.test_colors) of the package 'brokenpack'" in record.getMessage()
    assert "SyntaxError" in record.getMessage()
    with pytest.raises(ConfigError, match="'broken' .*cannot be loaded from unfinished:ENTRY"):
        colors.load("broken")


def test_a_broken_built_in_entry_is_never_left_out(colors: Registry[Color], tmp_path: Path) -> None:
    [folder] = tmp_path.glob("colors_*")
    (folder / "torn.py").write_text("ENTRY = (")

    with pytest.raises(ConfigError, match="'torn' .*cannot be loaded"):
        colors.load_all()


def test_two_entries_of_one_name_are_an_error_only_for_who_asks_for_that_name(
    colors: Registry[Color], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    install(tmp_path, "redpack", f"red = {__name__}:BLUE")

    assert colors.names() == ("dark-red", "red")
    assert colors.load_all() == {"dark-red": Color(10), "red": Color(0)}
    assert colors.load("dark-red") == Color(10)
    [record] = caplog.records
    assert "'red' (groundswell.test_colors) of the package 'redpack' is left out" in record.getMessage()
    for ask in (colors.load, colors.reference):
        with pytest.raises(
            ConfigError, match="color 'red' .*has two entries.*uninstall one package or rename"
        ):
            ask("red")


def test_of_two_packages_with_one_name_the_first_is_listed(colors: Registry[Color], tmp_path: Path) -> None:
    install(tmp_path, "bluepack", f"blue = {__name__}:BLUE")
    (tmp_path / "second").mkdir()
    sys.path.append(str(tmp_path / "second"))
    try:
        install(tmp_path / "second", "greenpack", f"blue = {__name__}:Green")

        assert colors.load_all()["blue"] is BLUE and not colors.is_built_in("blue")
    finally:
        sys.path.remove(str(tmp_path / "second"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "pink",
            r"color 'pink' \(paint.color\) is unknown; expected one of dark-red, red, or module:attribute",
        ),
        ("a:b:c", "is not of the form module:attribute; write e.g."),
        ("no_such_module:ENTRY", "cannot be loaded from no_such_module:ENTRY .*install the package"),
        (f"{__name__}:NO_SUCH", "cannot be loaded from .*NO_SUCH.*correct the name"),
        (f"{__name__}:NOT_A_COLOR", "is of type str, expected Color or a subclass of it"),
        (f"{__name__}:Needy", "cannot be called without arguments"),
        (f"{__name__}:Faulty", "cannot be called without arguments .RuntimeError: no license file"),
        ("unfinished:ENTRY", "cannot be loaded from unfinished:ENTRY .SyntaxError: .*correct the module"),
        ("unlucky:ENTRY", "cannot be loaded from unlucky:ENTRY .ZeroDivisionError: .*correct the module"),
    ],
)
def test_a_wrong_name_is_an_error_with_a_remedy(
    colors: Registry[Color], tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / "unfinished.py").write_text("ENTRY = (")
    (tmp_path / "unlucky.py").write_text("ENTRY = 1 / 0")

    with pytest.raises(ConfigError, match=message):
        colors.load(name)
    with pytest.raises(ValueError, match=message):
        colors.check(name)
