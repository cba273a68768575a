"""The command line, used rightly and wrongly."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import alloy
from alloy.cli import models
from alloy.cli.actions import actions
from alloy.cli.main import main
from terminal import CTRL_C, terminal

ROOT = str(Path(__file__).parents[2])


def alloy_cli(*arguments: str, cwd: Path, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "HOME": str(cwd), "PYTHONPATH": ROOT, **environment}
    command = [sys.executable, "-W", "error", "-m", "alloy", *arguments]
    return subprocess.run(command, cwd=cwd, env=env, input=stdin, capture_output=True, text=True, check=False)


@pytest.mark.works(
    "`alloy demo`: a team with real file tools, where a server crashes and comes back; offline, without a key"
)
def test_the_demo_shows_a_crash_and_the_restart_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done = alloy_cli("demo", cwd=tmp_path, TMPDIR=str(tmp_path))

    lines = done.stderr.splitlines()
    crash = """Crash(exc=AttributeError("'ToolMessage' object has no attribute 'text'"))"""
    assert done.returncode == 0
    assert done.stdout == "shopping.txt has 3 entries: apples, bread, oat milk.\n"
    assert "writer → edit_file(path='shopping.txt', old='milk', new='oat milk')" in lines
    (report,) = [line for line in lines if line.startswith("alloy.otp: ")]
    assert report.startswith(f"alloy.otp: process 'checker' ended: {crash} (+")
    assert lines.count("lead → checker(prompt='Read shopping.txt and tell what is on it.')") == 2
    supervised = [re.sub(r"0\.\d s", "0.5 s", line) for line in lines if line.startswith("supervisor: ")]
    assert supervised[:-1] == [
        f"supervisor: checker #7 ended: {crash}",
        "supervisor: checker starts again in 0.5 s",
        "supervisor: checker #8 started",
        "supervisor: checker #8 ended: Shutdown(detail=None)",
        "supervisor: checker #6 ended: Shutdown(detail=None)",
        "supervisor: writer #5 ended: Shutdown(detail=None)",
        "supervisor: writer #4 ended: Shutdown(detail=None)",
        "supervisor: lead #3 ended: Shutdown(detail=None)",
        "supervisor: lead #2 ended: Shutdown(detail=None)",
    ]
    assert supervised[-1].endswith(" #1 ended: Shutdown(detail=None)")
    assert [line.strip(" └─") for line in lines if "└─ checker" in line and "(Supervisor)" not in line] == [
        "checker #7 (AgentServer) running",
        "checker restarting",
        "checker #8 (AgentServer) running, restarts: 1",
    ]
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_output_of_until_tool_is_written_as_json_and_nothing_else(tmp_path: Path) -> None:
    tools = ("--tools", "write_file,read_file", "--until-tool", "write_file")

    done = alloy_cli("run", "Write a list.", "--model", "scripted:demo", *tools, cwd=tmp_path)

    assert done.returncode == 0
    assert json.loads(done.stdout) == {"path": "shopping.txt", "content": "apples\nbread\nmilk\n"}


def test_the_demo_can_be_interrupted_between_the_crash_and_the_restart(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": ROOT, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-W", "error", "-m", "alloy", "demo"]
    with subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "starts again in" not in (line := process.stderr.readline()):
            assert line
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()

    assert process.returncode == 130
    assert rest.endswith("alloy: interrupted\n")
    assert "#8 started" not in rest
    assert "Traceback" not in rest
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["run", "hi"], 1, "MissingKey: no key for anthropic: set ANTHROPIC_API_KEY"),
        (["run", "hi"], 1, "`alloy demo`"),
        (["run", "hi", "--model", "nope:x"], 2, "unknown vendor 'nope'; known: anthropic"),
        (["run", "hi", "--model", "claude"], 2, "'claude' names no vendor; write 'vendor:model'"),
        (["run", "hi", "--model", "scripted:nope"], 2, "no script is called 'nope'"),
        (["run", "hi", "--tools", "read"], 2, "unknown tool 'read'; did you mean 'read_file'?; there are read_file,"),
        (["run", "hi", "--frob"], 2, "unexpected '--frob'"),
        (["run", "hi", "--modle=x"], 2, "alloy run: error: unexpected '--modle=x'; did you mean '--model'?"),
        (["run", "hi", "there"], 2, "unexpected 'there'; several words that are one need quotes"),
        (["models", "--jsn"], 2, "alloy models: error: unexpected '--jsn'; did you mean '--json'?"),
        (["run", "hi", "--max-turns", "many"], 2, "invalid int value: 'many'"),
        (["run", "hi", "--model", "scripted:echo", "--max-turns", "-1"], 2, "max_turns must be 0 or more"),
        (["run", "hi", "--model", "scripted:echo", "--until-tool", "x"], 2, "until_tool 'x' is no tool of the agent"),
        (["run", "", "--model", "scripted:echo"], 2, "the prompt is empty"),
        (["run", "hi", "--model", "scripted:echo", "--max-turns", "0"], 3, "the run ended as max_turns"),
        (["frob"], 2, "invalid choice: 'frob'"),
        ([], 2, ""),
    ],
)
def test_wrong_use_is_told_and_has_its_exit_code(
    arguments: list[str], code: int, complaint: str, tmp_path: Path
) -> None:
    done = alloy_cli(*arguments, cwd=tmp_path)

    assert done.returncode == code
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


def test_a_prompt_may_come_on_standard_input(tmp_path: Path) -> None:
    assert alloy_cli("run", "--model", "scripted:echo", cwd=tmp_path, stdin="so be it").stdout == "so be it\n"
    assert alloy_cli("run", "-", "--model", "scripted:echo", cwd=tmp_path, stdin="or so").stdout == "or so\n"


def test_the_model_may_come_from_the_environment(tmp_path: Path) -> None:
    assert alloy_cli("run", "hi", cwd=tmp_path, ALLOY_MODEL="scripted:echo").stdout == "hi\n"


def test_context_files_are_read_unless_told_otherwise(tmp_path: Path) -> None:
    (tmp_path / ".alloy" / "context").mkdir(parents=True)
    (tmp_path / ".alloy" / "context" / "bad.md").write_bytes(b"\xff")

    assert "context file" in alloy_cli("run", "hi", "--model", "scripted:echo", cwd=tmp_path).stderr
    assert (
        "context file" not in alloy_cli("run", "hi", "--model", "scripted:echo", "--no-discover", cwd=tmp_path).stderr
    )


def test_a_reader_that_leaves_early_is_no_error_with_a_traceback(tmp_path: Path) -> None:
    command = f"{sys.executable} -m alloy run hi --model scripted:echo --json | head -1"
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": ROOT}
    done = subprocess.run(["bash", "-c", command], env=env, capture_output=True, text=True, check=False)

    assert done.stdout.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_a_chat_through_pipes_takes_a_prompt_a_line_and_ends_with_the_code_of_the_last(tmp_path: Path) -> None:
    prompts = "hello\nagain \\\nand again\n/history\n"
    done = alloy_cli("chat", "--model", "scripted:echo", cwd=tmp_path, stdin=prompts)

    assert done.stdout == "hello\nagain \nand again\n\n> hello\n\nhello\n\n> again \n  and again\n\nagain \nand again\n"
    assert (done.stderr, done.returncode) == ("", 0)
    assert alloy_cli("chat", "--model", "scripted:echo", "--max-turns", "0", cwd=tmp_path, stdin="hi").returncode == 3
    assert alloy_cli("chat", "--model", "scripted:echo", cwd=tmp_path).returncode == 0


def test_a_chat_goes_on_with_its_session_and_with_a_copy_after_a_fork(tmp_path: Path) -> None:
    kept = ("chat", "--model", "scripted:echo", "--session", "mine", "--store", "kept")

    first = alloy_cli(*kept, cwd=tmp_path, stdin="one\n/fork\ntwo\n")
    second = alloy_cli(*kept, cwd=tmp_path, stdin="/history\n")

    assert (first.stdout, first.returncode) == ("one\ntwo\n", 0)
    assert [line.rpartition(": ")[2] for line in first.stderr.splitlines()] == [
        "0 messages so far",
        "2 messages so far",
    ]
    assert second.stdout.split() == [">", "one", "one"]
    assert alloy_cli("chat", "--store", "kept", cwd=tmp_path).returncode == 2


def test_a_conversation_can_be_saved_and_a_program_can_go_on_with_it(tmp_path: Path) -> None:
    prompts = "hello\n/save talk.txt\n/save talk.json\n/save talk.txt\n/save\n/save no/such/folder\n"
    done = alloy_cli("chat", "--model", "scripted:echo", cwd=tmp_path, stdin=prompts)

    assert (tmp_path / "talk.txt").read_text() == "\n> hello\n\nhello\n"
    saved = json.loads((tmp_path / "talk.json").read_text())
    messages = [alloy.from_json(message) for message in saved["messages"]]
    assert [message.text for message in messages] == ["hello", "hello"]
    assert alloy.run_sync("again", model="scripted:echo", history=messages).messages[:2] == tuple(messages)
    assert done.stderr.splitlines() == [
        "saved: talk.txt",
        "saved: talk.json",
        "alloy: File exists: 'talk.txt'",
        "alloy: /save needs the name of a file; one that ends in .json can be gone on with",
        "alloy: No such file or directory: 'no/such/folder'",
    ]


def test_a_chat_can_be_compacted_and_stays_whole(tmp_path: Path) -> None:
    prompts = "".join(f"{word} {'words ' * 500}\n" for word in ("one", "two", "three", "four", "five"))
    stdin = f"/compact\n{prompts}/compact\nhow are you\n/history\n"
    done = alloy_cli("chat", "--model", "scripted:echo", cwd=tmp_path, stdin=stdin)

    told = done.stderr.splitlines()
    assert told[0] == "there is nothing to shorten"
    assert re.fullmatch(r"the history is shown to the model in short: [\d.]+k → [\d.]+k? tokens", told[1])
    assert done.stdout.count("> two words") == 1
    assert (len(told), done.returncode) == (2, 0)


def test_skills_are_commands_and_listed(tmp_path: Path) -> None:
    folder = tmp_path / ".alloy" / "skills"
    folder.mkdir(parents=True)
    (folder / "knit.md").write_text("---\nname: knit\ndescription: How to knit.\n---\nTwo needles.")
    (folder / "quit.md").write_text("Not the command.")
    (folder / "two words.md").write_text("No command.")
    chat = ("chat", "--model", "scripted:echo")
    done = alloy_cli(*chat, cwd=tmp_path, stdin="/skills\n/knit a sock\n/knit\n/help\n/quit\nnever\n")

    listed, said = done.stdout.split("Use the skill 'knit'.", 1)
    assert listed == "knit       How to knit.\nquit       Not the command.\ntwo words  No command.\n"
    assert said.startswith("\n\na sock\nUse the skill 'knit'.\n/knit [TEXT]")
    assert (done.stderr, done.returncode, "never" in done.stdout) == ("", 0, False)
    assert "no command '/skills'" in alloy_cli(*chat, "--no-discover", cwd=tmp_path, stdin="/skills\n").stderr


def test_in_a_pipe_nobody_is_asked_unless_that_was_wanted_and_then_all_is_denied(tmp_path: Path) -> None:
    chat = ("chat", "--model", "scripted:demo", "--tools", "write_file,read_file")
    free = alloy_cli(*chat, cwd=tmp_path, stdin="go\n")
    asking = alloy_cli(*chat, "--ask", "write_file", cwd=tmp_path, stdin="go\n")

    assert "← write_file: ok" in free.stderr
    assert "← write_file: denied" in asking.stderr
    assert "nobody is there to ask" in asking.stderr
    assert "The list has 3 entries" in asking.stdout  # what the first chat had written


def test_a_chat_from_a_file_and_with_a_reader_that_leaves_early(tmp_path: Path) -> None:
    (tmp_path / "prompts").write_text("one\ntwo\n" * 50)
    command = f"{sys.executable} -W error -m alloy chat --model scripted:echo < prompts | head -1"
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": ROOT}
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)

    assert done.stdout == "one\n"
    assert "Traceback" not in done.stderr


def test_debug_shows_where_an_error_comes_from(tmp_path: Path) -> None:
    done = alloy_cli("run", "hi", "--debug", cwd=tmp_path)

    assert "Traceback" in done.stderr
    assert "MissingKey: no key for anthropic" in done.stderr


def test_control_characters_of_a_model_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    main(["run", "a\x1b[31mb\x07", "--model", "scripted:echo", "--no-discover"])

    assert capsys.readouterr().out == "a�[31mb�\n"


def test_ctrl_c_in_the_middle_of_a_run_ends_it_with_its_tools(tmp_path: Path) -> None:
    script = tmp_path / "hang.py"
    script.write_text(
        "import sys, trio, alloy.llm.scripted as scripted\n"
        "from alloy.cli.main import main\n"
        "call = scripted.call_step('bash', {'command': 'echo $$ > pid; sleep 1000'})\n"
        "scripted.SCRIPTS = {'hang': lambda request: call}\n"
        "import alloy.api; alloy.api.SCRIPTS = scripted.SCRIPTS\n"
        "sys.exit(main(['run', 'x', '--model', 'scripted:hang', '--tools', 'bash']))\n"
    )
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": ROOT}
    with subprocess.Popen([sys.executable, str(script)], cwd=tmp_path, env=env, stderr=subprocess.PIPE) as process:
        pid_file = tmp_path / "pid"
        give_up = time.monotonic() + 20
        while not (pid_file.exists() and pid_file.read_text().strip()):
            assert time.monotonic() < give_up
            assert process.poll() is None
            os.sched_yield()
        child = int(pid_file.read_text())
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=20)

    assert process.returncode == 130
    assert b"interrupted" in error
    assert b"Traceback" not in error
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_models_says_whom_one_can_ask_and_what_they_cost(tmp_path: Path) -> None:
    done = alloy_cli("models", cwd=tmp_path, ANTHROPIC_API_KEY="sk-ant-secret")

    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert "anthropic ANTHROPIC_API_KEY is set" in lines
    assert "google GOOGLE_API_KEY or GEMINI_API_KEY is not set" in lines
    assert "ollama OLLAMA_API_KEY is not set, and not needed" in lines
    assert "claude-sonnet-4-6 1,000,000 128,000 3 15 0.3 3.75" in lines
    assert "gpt-6-astra 1,050,000 128,000 10 50 1 12.5 20 / 75 above 272,000" in lines
    assert "sk-ant-secret" not in done.stdout


def test_models_can_be_read_by_a_program(tmp_path: Path) -> None:
    done = alloy_cli("models", "--json", cwd=tmp_path, OPENAI_API_KEY="k")

    vendors = {row["vendor"]: row for row in json.loads(done.stdout)}
    assert vendors["openai"]["key_is_set"]
    assert not vendors["xai"]["key_is_set"]
    assert vendors["openai"]["models"]["gpt-5.4"]["price"]["long"]["output"] == "22.5"
    assert vendors["codex"]["models"]["gpt-5.4"] == {"window": 1_050_000, "max_output": 128_000, "price": None}


def test_models_are_a_table_with_lines_on_a_terminal() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()

    models.show(out)

    assert "┏" in out.getvalue()
    assert "claude-sonnet-4-6" in out.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 0.005, 0.02, 0.1, 0.3])
def test_ctrl_c_twice_ends_a_run_as_once_does(seconds: float, tmp_path: Path) -> None:
    with terminal("run", "go", "--model", "scripted:stubborn", "--tools", "bash", home=tmp_path) as screen:
        screen.wait_for("→ bash(command=")
        child = int(screen.wait_file("pid"))
        screen.type(CTRL_C)
        time.sleep(seconds)
        screen.type(CTRL_C)

        assert screen.wait_end() == 130
        assert "Traceback" not in screen.text
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)


def test_a_prompt_that_is_no_text_is_read_as_well_as_it_can_be(tmp_path: Path) -> None:
    command = f"printf 'a\\377b' | {sys.executable} -m alloy run --model scripted:echo"
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": ROOT}
    done = subprocess.run(["bash", "-c", command], env=env, capture_output=True, text=True, check=False)

    assert (done.stdout, done.returncode) == ("a�b\n", 0)


def test_the_page_of_the_command_line_names_all_commands_of_the_chat() -> None:
    page = (Path(ROOT) / "docs" / "how-to" / "use-the-command-line.md").read_text()

    assert [name for name in actions(interactive=True, keeps=True) if f"`/{name}" not in page] == []
