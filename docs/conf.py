"""Sphinx configuration: `make docs` builds the pages into docs/_build/html."""

import pathlib
import sys

from kserket.version import __version__

sys.path.insert(0, str(pathlib.Path(__file__).parent / "_extensions"))

project = "kserket"
author = "kserket developers"
copyright = "2026, kserket developers"
release = version = __version__

extensions = [
    "docstrings",
    "mathml",
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build", "_extensions", "conf.py", "thumbnails.py"]
templates_path = ["_templates"]
html_math_renderer = "mathml"  # drawn by the browser, also without network

# Scripts in tutorials/ become pages with what they print and draw. They are run when they change.
nb_custom_formats = {".py": ["jupytext.reads", {"fmt": "py:percent"}]}
nb_execution_mode = "cache"
nb_execution_in_temp = True
nb_execution_timeout = 600
nb_execution_raise_on_error = True

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_use_ivar = True
napoleon_custom_sections = [("Messages", "params_style"), "Files", "Reference"]

html_theme = "furo"
html_title = f"kserket {release}"
