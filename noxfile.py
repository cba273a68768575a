"""What is checked, and how: `nox` runs what must hold before a push, `nox -l` lists all parts."""

from __future__ import annotations

import os
import shutil
import tarfile
import tomllib
import zipfile
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "tests", "slow", "docs", "examples", "package"]

ROOT = Path(__file__).parent
PYTEST = ("pytest", "-W", "error")

# Examples and the demo need no vendor, and must not find one by chance.
KEYLESS = {name: None for name in os.environ if name.endswith("_API_KEY")}

# What `pip install alloy` brings beside alloy, and nothing else.
DISTRIBUTIONS = {
    *("trio", "httpx", "attrs", "cattrs"),
    *("anyio", "certifi", "h11", "httpcore", "idna", "outcome", "sniffio", "sortedcontainers", "typing-extensions"),
}

# What works without a key and without an extra.
COMMANDS = (
    "alloy --version",
    "alloy demo",
    "alloy models",
    'test "$(alloy run hi --model scripted:echo)" = hi',
    "echo hi | alloy chat --model scripted:echo | grep -qx hi",
)


@nox.session
def lint(session: nox.Session) -> None:
    """Style and layout of every file."""
    session.install("-e", ".[lint]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Types: ours under two checkers, what users see of them, and what users' code may expect."""
    session.install("-e", ".[types]")
    session.run("mypy", "--strict", "alloy")
    session.run("pyright", "alloy")
    session.run("pyright", "--verifytypes", "alloy", "--ignoreexternal")
    if (ROOT / "tests/typed").is_dir():
        session.run("mypy", "--strict", "tests/typed")
        session.run("pyright", "tests/typed")


@nox.session
def tests(session: nox.Session) -> None:
    """All tests but the slow ones: under five minutes on two cores."""
    session.install("-e", ".[tests]")
    session.run(*PYTEST, "-m", "not slow", *session.posargs)


@nox.session
def slow(session: nox.Session) -> None:
    """The exhaustive tests."""
    session.install("-e", ".[tests]")
    session.run(*PYTEST, "-m", "slow", *session.posargs)


@nox.session(default=False)
def coverage(session: nox.Session) -> None:
    """Which branches the quick tests reach."""
    session.install("-e", ".[tests]", "coverage[toml]")
    session.run("coverage", "run", "-m", *PYTEST, "-m", "not slow", *session.posargs)
    session.run("coverage", "report", "--skip-covered", "--show-missing")


@nox.session(default=False)
def floors(session: nox.Session) -> None:
    """The quick tests on the oldest releases that pyproject.toml admits."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    oldest = [requirement.split(",")[0].replace(">=", "==") for requirement in project["dependencies"]]
    session.install("-e", ".[tests]", *oldest)
    session.run(*PYTEST, "-m", "not slow", *session.posargs)


@nox.session(default=False)
def tests_httpx2(session: nox.Session) -> None:
    """The tests of everything that talks HTTP, on httpx's maintained fork."""
    session.install("-e", ".[tests]", "httpx2")
    session.run(*PYTEST, "tests/providers", *session.posargs, env={"ALLOY_HTTPX": "httpx2"})


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, without a warning and without a network."""
    session.install("-e", ".[docs]")
    build = ("-W", "--keep-going", "-E", "-q", "-b", "html", "docs", "docs/_build/html")
    session.run("python", "tests/offline.py", f"{session.bin}/sphinx-build", *build)


@nox.session
def examples(session: nox.Session) -> None:
    """Every example runs to its end, offline and without a key."""
    session.install("-e", ".[cli,examples]")
    offline = ROOT / "tests/offline.py"
    for example in sorted((ROOT / "examples").glob("*.py")):
        session.chdir(session.create_tmp())
        session.run("python", "-W", "error", str(offline), str(example), env=KEYLESS)


@nox.session(reuse_venv=False)
def package(session: nox.Session) -> None:
    """What we publish: the wheel brings what it should and works, the source archive passes its own tests."""
    temporary = Path(session.create_tmp()).resolve()
    for leftover in temporary.iterdir():
        shutil.rmtree(leftover)
    session.install("build")
    session.run("python", "-m", "build", "--outdir", str(temporary / "dist"), ".", silent=True)
    (wheel,), (source,) = (temporary / "dist").glob("*.whl"), (temporary / "dist").glob("*.tar.gz")
    _check_wheel(session, wheel, clean=temporary / "clean")
    _check_source(session, source, unpacked=temporary / "source")


def _check_wheel(session: nox.Session, wheel: Path, clean: Path) -> None:
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if not name.partition("/")[0].endswith(".dist-info")}
    ours = {path.relative_to(ROOT).as_posix() for path in (ROOT / "alloy").rglob("*") if path.is_file()}
    ours = {name for name in ours if "__pycache__" not in name}
    if packed != ours or "alloy/py.typed" not in packed:  # without py.typed type checkers would pass it over
        session.error(f"the wheel's files are not those of alloy/: {sorted(packed ^ ours) or 'py.typed is missing'}")
    python = str(clean / "bin/python")
    session.run("python", "-m", "venv", str(clean))
    session.run(python, "-m", "pip", "install", "-q", str(wheel), external=True)
    listing = session.run(python, "-m", "pip", "list", "--format=freeze", external=True, silent=True)
    assert isinstance(listing, str)
    names = {line.partition("==")[0].replace("_", "-").lower() for line in listing.splitlines() if "==" in line}
    if (found := names - {"alloy", "pip", "setuptools"}) != DISTRIBUTIONS:
        session.error(f"installing alloy brought other distributions than it should: {sorted(found ^ DISTRIBUTIONS)}")
    session.chdir(clean)  # away from the checkout, so that the installed package is the one that runs
    for command in COMMANDS:
        session.run("sh", "-euc", f"PATH={clean}/bin:$PATH; {command}", env=KEYLESS, external=True)


def _check_source(session: nox.Session, source: Path, unpacked: Path) -> None:
    with tarfile.open(source) as archive:
        archive.extractall(unpacked, filter="data")
    (root,) = unpacked.iterdir()
    session.chdir(root)
    session.install(".[tests]")
    # An archive has no recordings beside it; where they must be there, the tests that need them would fail.
    session.run(*PYTEST, "-m", "not slow", env={"ALLOY_RECORDINGS": None, "CI": None})


@nox.session(default=False)
def benchmarks(session: nox.Session) -> None:
    """How much alloy costs over hand-written code: `nox -s benchmarks -- loop stream` selects."""
    session.install(".")
    session.run("python", "tests/benchmarks/run.py", *session.posargs)
