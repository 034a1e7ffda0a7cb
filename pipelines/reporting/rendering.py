"""Pages from the Jinja templates in `templates/`, and how a page is written.

A page loads no script, no address and no font from elsewhere. The content policy in the page forbids them.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from engine.storage.local_files import replace_file
from pipelines.reporting.charts import format_percent
from pipelines.reporting.markup import Markup, clean_text, element, join

_FOLDER = Path(__file__).parent
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def render(template: str, **values: object) -> str:
    """Render a template as a whole HTML file. `values` must include `title`."""
    style = Markup((_FOLDER / "style.css").read_text(encoding="utf-8"))
    return _environment().get_template(template).render(style=style, policy=POLICY, **values)


def document(title: str, *children: Markup | None) -> str:
    """Return an HTML file that needs no other file, as text."""
    return render("document.html", title=title, body=join(*children))


def write_document(text: str, path: str | Path) -> None:
    """Write a page atomically."""
    replace_file(path, text.encode())


def section(title: str, *children: Markup | None) -> Markup:
    """Return a section with its heading."""
    return element("section", element("h2", title), *children)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_clean_value,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["thousands"] = "{:,}".format
    environment.filters["percent"] = format_percent
    return environment


def _clean_value(value: object) -> object:
    """Replace characters that XML does not allow in values that the template prints."""
    return clean_text(value) if isinstance(value, str) and not isinstance(value, Markup) else value
