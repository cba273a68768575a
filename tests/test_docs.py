"""Every page of the documentation runs, offline, from its first block to its last."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from snippets import Snippet, read_snippets, run_snippets

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md") if "_build" not in path.parts)


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    run_snippets(read_snippets(DOCS / page))


def snippets_of(text: str, folder: Path) -> list[Snippet]:
    path = folder / "page.md"
    path.write_text(text, encoding="utf-8")
    return read_snippets(path)


def test_the_blocks_of_a_page_are_one_program(tmp_path: Path) -> None:
    snippets = snippets_of(
        "```python\nx = [1]\n```\n\ntext\n\n```python\nx.append(2)\nassert x == [1, 2]\n```\n", tmp_path
    )

    assert [snippet.line for snippet in snippets] == [2, 8]
    run_snippets(snippets)


def test_a_block_may_await_at_its_top_level(tmp_path: Path) -> None:
    text = "```python\nimport trio\nawait trio.lowlevel.checkpoint()\nx = 1\n```\n```python\nx\n```\n"
    snippets = snippets_of(text, tmp_path)

    run_snippets(snippets)


def test_an_error_names_the_page_and_the_line(tmp_path: Path) -> None:
    snippets = snippets_of("text\n\n```python\n1 / 0\n```\n", tmp_path)

    with pytest.raises(ZeroDivisionError) as caught:
        run_snippets(snippets)

    assert caught.value.__notes__ == ["in page.md, the block at line 4"]
    assert caught.traceback[-1].lineno == 3  # counted from 0: the line in the page


def test_a_block_that_announces_an_error_must_end_in_it(tmp_path: Path) -> None:
    raises = snippets_of("<!-- raises: KeyError -->\n```python\n{}[1]\n```\n", tmp_path)
    ends_well = snippets_of("<!-- raises: KeyError -->\n```python\n{}\n```\n", tmp_path)

    run_snippets(raises)
    with pytest.raises(AssertionError, match=re.escape("page.md:3 ended without KeyError")):
        run_snippets(ends_well)


def test_a_block_marked_to_be_skipped_and_other_languages_are_left_out(tmp_path: Path) -> None:
    text = "<!-- skip: needs a key -->\n```python\n1/0\n```\n\n```sh\nexit 1\n```\n"

    assert snippets_of(text, tmp_path) == []


@pytest.mark.parametrize("spec", ["anthropic:claude-sonnet-4-6", "openai:gpt-5.5", "ollama:qwen3:8b"])
def test_a_vendor_s_model_is_replaced_by_the_scripted_one(spec: str, tmp_path: Path) -> None:
    snippets = snippets_of(f'```python\nmodel = "{spec}"\nassert model == "scripted:demo"\n```\n', tmp_path)

    run_snippets(snippets)


def test_the_diagrams_are_what_their_script_draws() -> None:
    drawings = runpy.run_path(str(DOCS / "diagrams.py"))["DRAWINGS"]

    drawn = {f"{name}.svg": draw() for name, draw in drawings.items()}
    assert drawn == {path.name: path.read_text(encoding="utf-8") for path in (DOCS / "diagrams").glob("*.svg")}
