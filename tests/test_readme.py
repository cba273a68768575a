"""README holds: its code runs, its table is that of the tests, its test command is what CI runs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from snippets import read_snippets, run_snippets
from works import claims, put_in, table

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"


def test_the_code_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snippets = read_snippets(README)
    monkeypatch.chdir(tmp_path)

    assert snippets
    run_snippets(snippets)


def test_the_table_of_what_works_is_current() -> None:
    readme = README.read_text(encoding="utf-8")

    assert put_in(readme, table(ROOT / "tests")) == readme, "run `python tests/works.py --write`"


def test_ci_runs_the_test_command_of_the_readme() -> None:
    found = re.search(r"<!-- test command -->\n+```\w*\n(.*?)```\n", README.read_text(encoding="utf-8"), re.S)
    assert found, "README has no fenced block after <!-- test command -->"

    shown = subprocess.run(["bash", ".ci/run", "--show"], cwd=ROOT, check=True, capture_output=True, text=True).stdout

    assert shown == found[1]


def test_a_claim_is_read_off_a_marker_on_a_test_a_module_or_a_case() -> None:
    source = """
pytestmark = pytest.mark.works("a")
@pytest.mark.works("b")
def test_x(): ...
@pytest.mark.parametrize("y", [pytest.param(1, marks=pytest.mark.works("c"))])
def test_y(): ...
"""

    assert sorted(claims(source)) == ["a", "b", "c"]


@pytest.mark.parametrize("argument", ["", "name", "f'{x}'", "'a', 'b'", "1"])
def test_a_claim_that_is_no_plain_text_is_refused(argument: str) -> None:
    with pytest.raises(ValueError, match=r"line 1: works\(\) takes one plain text"):
        list(claims(f"pytest.mark.works({argument})"))


def test_a_claim_of_two_files_is_one_row(tmp_path: Path) -> None:
    tests = tmp_path / "tests"
    tests.mkdir()
    for name in ("test_a.py", "test_b.py"):
        (tests / name).write_text('@pytest.mark.works("both")\ndef test(): ...\n')

    assert table(tests).splitlines()[2:] == ["| both | [test_a.py](tests/test_a.py), [test_b.py](tests/test_b.py) |"]


@pytest.mark.parametrize("readme", ["", "<!-- works:begin -->\n", "<!-- works:end -->\n<!-- works:begin -->\n"])
def test_a_readme_without_the_place_for_the_table_is_refused(readme: str) -> None:
    with pytest.raises(ValueError, match="each on a line of its own"):
        put_in(readme, "rows")
