"""How the documentation is built: `nox -s docs`, offline, and every warning is an error."""

from __future__ import annotations

import re

from sphinx.application import Sphinx

from alloy.version import __version__

project = "alloy"
author = "The alloy developers"
copyright = "The alloy developers"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "alloy"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "groupwise"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 88


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-docstring", _backticks, priority=400)  # before napoleon


def _backticks(app: Sphinx, what: str, name: str, of: object, options: object, lines: list[str]) -> None:
    """Our docstrings mark code with one backtick, as Markdown does; reStructuredText wants two."""
    text = re.sub(r"(?<!`)`([^`]+)`(?!`)", lambda found: f"``{' '.join(found[1].split())}``\\ ", "\n".join(lines))
    lines[:] = text.split("\n")
