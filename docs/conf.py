"""How the documentation is built: `nox -s docs`, offline, and every warning is an error."""

from __future__ import annotations

import re
from textwrap import indent

from docutils.nodes import Node
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import alloy.tools
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


class ToolDirective(SphinxDirective):
    """`.. tool:: read_file` shows a tool of `alloy.tools` as the model sees it."""

    required_arguments = 1

    def run(self) -> list[Node]:
        """See docutils."""
        tool = getattr(alloy.tools, self.arguments[0])
        parameters = tool.parameters["properties"]
        arguments = [
            name if name in tool.parameters["required"] else f"{name}={schema.get('default')!r}"
            for name, schema in parameters.items()
        ]
        fields = [f":param {name}: {schema.get('description', '')}" for name, schema in parameters.items()]
        content = indent("\n".join([as_rst(tool.description), "", *fields]), "   ")
        return self.parse_text_to_nodes(f".. py:function:: {tool.name}({', '.join(arguments)})\n\n{content}\n")


def as_rst(text: str) -> str:
    """Turn what our docstrings have of Markdown, fenced code and code in backticks, into reStructuredText."""
    text = re.sub(
        r"^```(\w+)\n(.*?)^```$", lambda m: f".. code-block:: {m[1]}\n\n{indent(m[2], '   ')}", text, flags=re.M | re.S
    )
    return re.sub(r"(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)", lambda m: f"``{' '.join(m[1].split())}``\\ ", text)


def _process_docstring(app: Sphinx, what: str, name: str, of: object, options: object, lines: list[str]) -> None:
    text = as_rst("\n".join(lines))
    # Of `a, b: both` Sphinx would make a variable b of type a.
    text = re.sub(r"^ +\w+(?:, \w+)+(?=: )", lambda m: m[0].replace(", ", "/"), text, flags=re.M)
    lines[:] = text.split("\n")


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.add_directive("tool", ToolDirective)
    app.connect("autodoc-process-docstring", _process_docstring, priority=400)  # before napoleon's
