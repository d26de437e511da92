"""Sphinx configuration: `make docs` builds the pages into docs/_build/html."""

import re

from kserket.version import __version__

project = "kserket"
author = "kserket developers"
copyright = "2026, kserket developers"
release = version = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build", "conf.py"]

# Scripts in tutorials/ become pages with what they print and draw. They are run when they change.
nb_custom_formats = {".py": ["jupytext.reads", {"fmt": "py:percent"}]}
nb_execution_mode = "cache"
nb_execution_timeout = 600
nb_execution_raise_on_error = True

myst_enable_extensions = ["amsmath", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_use_ivar = True
napoleon_custom_sections = [("Messages", "params_style"), "Files", "Reference"]

html_theme = "furo"
html_title = f"kserket {release}"


def _markdown_to_rst(app, what, name, obj, options, lines):
    """Turns the Markdown of docstrings, `code`, code fences and tables, into reStructuredText."""
    inside, table, result = False, [], []
    for line in [*lines, ""]:
        fence = re.match(r"(\s*)```(\w*)\s*$", line)
        if not inside and not fence:
            line = re.sub(r"(?<![`:])`([^`]+)`(?!`)", r"``\1``", line)
        if not inside and re.match(r"\s*\|.*\|\s*$", line):
            table.append(line)
            continue
        result += _list_table(table)
        table = []
        if fence and not inside:
            inside, margin = True, fence[1]
            result += [f"{margin}.. code-block:: {fence[2] or 'text'}", ""]
        elif fence:
            inside = False
            result.append("")
        else:
            result.append("   " + line if inside and line.strip() else line)
    lines[:] = result


def _list_table(rows):
    """A Markdown table as a list-table; nothing of no rows."""
    if not rows:
        return []
    margin = re.match(r"\s*", rows[0])[0]
    result = ["", f"{margin}.. list-table::", f"{margin}   :header-rows: 1", ""]
    for row in rows:
        if not set(row) <= set(" |-:"):
            first, *others = (cell.strip() for cell in row.strip().strip("|").split(" | "))
            result += [f"{margin}   * - {first}", *(f"{margin}     - {cell}" for cell in others)]
    return [*result, ""]


def setup(app):
    """Registers what conf.py adds to Sphinx."""
    app.connect("autodoc-process-docstring", _markdown_to_rst, priority=400)  # before napoleon
