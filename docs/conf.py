"""How the documentation is built: `nox -s docs`, offline, and every warning is an error."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator, Sequence
from textwrap import indent

import attrs
from docutils.nodes import Node
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import alloy.tools
from alloy.cli.main import command_line_parser
from alloy.llm.models import ModelCard
from alloy.llm.price_list import CARDS
from alloy.providers.dialect import Profile
from alloy.providers.vendors import VENDORS, Vendor, variables
from alloy.version import __version__

project = "alloy"
author = "The alloy developers"
copyright = "The alloy developers"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "alloy"
smartquotes = False  # code is quoted in docstrings, and a reader copies it

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


class VendorsDirective(SphinxDirective):
    """`.. vendors::` shows the table of vendors, what their models want on the wire, and what is known of these."""

    def run(self) -> list[Node]:
        """See docutils."""
        parts = [list_table(("vendor", "dialect", "key", "base URL"), map(vendor_row, VENDORS.values()))]
        for vendor in VENDORS.values():
            rows = [*profile_rows(vendor)]
            cards = [card_row(name, card) for name, card in CARDS.get(vendor.name, {}).items()]
            if rows or cards:
                parts.append(f".. rubric:: {vendor.name}")
            if rows:
                parts.append(list_table(("models that begin with", "fields of the profile"), rows))
            if cards:
                parts.append(list_table(("model", "window", "most output", "input", "output", "cache read"), cards))
        return self.parse_text_to_nodes("\n\n".join(parts))


class CommandLineDirective(SphinxDirective):
    """`.. command-line::` shows the commands of `alloy`, and what each takes."""

    def run(self) -> list[Node]:
        """See docutils."""
        return self.parse_text_to_nodes("\n\n".join(command_lines(command_line_parser())))


def command_lines(parser: argparse.ArgumentParser, about: str = "") -> Iterator[str]:
    """Yield a command and what it takes, then the commands below it, as reStructuredText."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    shown = [action for action in parser._actions if action not in below and action.dest != "help"]
    yield f".. rubric:: {parser.prog}\n\n{about}\n\n.. program:: {parser.prog}"
    for action in shown:
        value = "" if action.nargs == 0 or not action.option_strings else f" {action.metavar or action.dest.upper()}"
        names = ", ".join(name + value for name in action.option_strings or [action.metavar or action.dest])
        yield f".. option:: {names}\n\n   {help_of(parser, action)}"
    for group in below:
        helps = {choice.dest: help_of(parser, choice) for choice in group._choices_actions}
        for name, command in group.choices.items():
            yield from command_lines(command, helps[name])


def help_of(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """Return what `--help` says of it, as reStructuredText."""
    return parser._get_formatter()._expand_help(action).replace("*", r"\*") if action.help else ""


def vendor_row(vendor: Vendor) -> tuple[str, ...]:
    keys = " or ".join(f"``{name}``" for name in variables(vendor))
    url = f"``{vendor.base_url}``" if vendor.base_url else "yours"
    if vendor.base_url_variable:
        url += f", or ``{vendor.base_url_variable}``"
    return f"``{vendor.name}``", vendor.dialect.name, keys + ("" if vendor.needs_key else ", not needed"), url


def profile_rows(vendor: Vendor) -> Iterator[tuple[str, ...]]:
    usual = attrs.asdict(Profile())
    own = {name: value for name, value in attrs.asdict(vendor.profile).items() if value != usual[name]}
    for beginning, fields in {"": own, **vendor.models}.items():
        if fields:
            shown = ", ".join(f"``{name}={value!r}``" for name, value in fields.items())
            yield f"``{beginning}``" if beginning else "anything", shown


def card_row(name: str, card: ModelCard) -> tuple[str, ...]:
    price = card.price
    amounts = (None,) * 3 if price is None else (price.input, price.output, price.cache_read)
    counts = ("" if count is None else f"{count:,}" for count in (card.window, card.max_output))
    return f"``{name}``", *counts, *("" if amount is None else f"{amount:f}" for amount in amounts)


def list_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in (headings, *rows):
        lines += (f"   {'  ' if number else '* '}- {cell}" for number, cell in enumerate(row))
    return "\n".join(lines)


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
    app.add_directive("vendors", VendorsDirective)
    app.add_directive("command-line", CommandLineDirective)
    app.connect("autodoc-process-docstring", _process_docstring, priority=400)  # before napoleon's
