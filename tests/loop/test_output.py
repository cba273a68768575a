"""Typed output and `until_tool`: a value of the type that was asked for, whatever the model does first."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NotRequired, TypedDict

import attrs
import pytest

import alloy
from alloy import Form, Outcome, Request, Status, StopInfo, StopReason
from alloy.llm.scripted import Calls, Says, Step
from alloy.loop.output import OUTPUT_TOOL
from alloy.testing import ScriptedModel, calls, calls_raw, fails, says


@attrs.frozen
class City:
    """A place where people live.

    Attributes:
        name: as its people write it.
    """

    name: str
    people: int = attrs.field(validator=attrs.validators.ge(0))


@dataclass
class Trip:
    to: City
    days: int = 1


class Movie(TypedDict):
    title: str
    year: NotRequired[int]


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


def answers(**fields: Any) -> Calls:
    """The model gives its output."""
    return calls(OUTPUT_TOOL, **fields)


class Held(ScriptedModel):
    """A model whose vendor holds its text to a schema."""

    def holds_to(self, schema: Mapping[str, Any]) -> bool:
        return True


@pytest.mark.works("Typed output: `output=T` gives a value of the type, checked strictly, or the run goes on")
@pytest.mark.parametrize(
    ("output", "fields", "value"),
    [
        (City, {"name": "Oslo", "people": 7}, City("Oslo", 7)),
        (Trip, {"to": {"name": "Oslo", "people": 7}}, Trip(City("Oslo", 7), 1)),
        (Movie, {"title": "M"}, {"title": "M"}),
        (dict[str, int], {"a": 1}, {"a": 1}),
        (Mood, {"value": "good"}, Mood.GOOD),
        (int, {"value": 0}, 0),
        (Form[Literal["a", "b"]](), {"value": "b"}, "b"),
        (Form[City | Movie](), {"value": {"title": "M", "year": 1931}}, {"title": "M", "year": 1931}),
        (Form[int | None](), {"value": None}, None),
        (Form[list[City]](), {"value": [{"name": "Oslo", "people": 7}]}, [City("Oslo", 7)]),
        (Form[City](), {"name": "Oslo", "people": 7}, City("Oslo", 7)),
        (Literal["a", "b"], {"value": "a"}, "a"),
        (int | str, {"value": "x"}, "x"),
        (list[int], {"value": []}, []),
    ],
)
@pytest.mark.parametrize("held", [False, True])
async def test_the_output_is_a_value_of_the_type(output: Any, fields: dict[str, Any], value: Any, held: bool) -> None:
    model = Held(says(json.dumps(fields))) if held else ScriptedModel(answers(**fields))

    result = await alloy.run("x", model=model, output=output)

    assert (result.status, result.turns) == (Status.COMPLETED, 1)
    assert result.output == value
    assert type(result.output) is type(value)
    assert result.has_output
    assert result.unwrap() == value


async def test_the_model_is_offered_one_more_tool_whose_parameters_are_the_fields() -> None:
    model = ScriptedModel(answers(name="Oslo", people=7))

    async def look_up(name: str) -> str:
        """Look a city up."""
        return name

    await alloy.run("x", model=model, tools=[look_up], output=City)

    (request,) = model.requests
    assert [tool.name for tool in request.tools] == ["look_up", OUTPUT_TOOL]
    assert request.output_schema is None
    assert request.tools[-1].parameters == {
        "type": "object",
        "description": "A place where people live.",
        "properties": {
            "name": {"type": "string", "description": "as its people write it."},
            "people": {"type": "integer"},
        },
        "required": ["name", "people"],
        "additionalProperties": False,
    }


async def test_a_vendor_that_holds_text_to_a_schema_gets_the_schema_and_no_tool() -> None:
    model = Held(calls("look_up", name="Oslo"), says('{"value": ["Oslo"]}'))

    async def look_up(name: str) -> str:
        """Look a city up."""
        return name

    result = await alloy.run("x", model=model, tools=[look_up], output=list[str])

    assert [[tool.name for tool in request.tools] for request in model.requests] == [["look_up"]] * 2
    assert model.requests[0].output_schema == {
        "type": "object",
        "properties": {"value": {"type": "array", "items": {"type": "string"}}},
        "required": ["value"],
        "additionalProperties": False,
    }
    assert result.output == ["Oslo"]


async def test_what_does_not_fit_goes_back_with_every_problem_and_its_path() -> None:
    wrong = {"to": {"name": 1, "people": "7", "mayor": "x"}, "days": "2"}
    right = {"to": {"name": "Oslo", "people": 7}}
    by_tool = ScriptedModel(answers(**wrong), answers(**right))
    by_schema = Held(says(json.dumps(wrong)), says(json.dumps(right)))

    for model in (by_tool, by_schema):
        result = await alloy.run("x", model=model, output=Trip)

        assert result.output == Trip(City("Oslo", 7))
        told = model.requests[1].messages[-1]
        text = told.text if isinstance(told, alloy.UserMessage) else told.results[0].text  # type: ignore[union-attr]
        for problem in (
            "expected string, got integer 1 @ to.name",
            'expected integer, got string "7" @ to.people',
            "extra fields found (mayor) @ to",
            'expected integer, got string "2" @ days',
        ):
            assert problem in text


async def test_what_a_class_itself_refuses_goes_back_too() -> None:
    model = ScriptedModel(answers(name="Oslo", people=-1), answers(name="Oslo", people=1))

    result = await alloy.run("x", model=model, output=City)

    assert result.output == City("Oslo", 1)
    assert "people" in (result.tool_calls[0].error or "")


# Models that misbehave, for `until_tool`, for `output` by a tool, and for `output` by a schema.


async def submit(value: int) -> str:
    """Hand the answer in."""
    return "thanks"


UNTIL: tuple[dict[str, Any], str] = ({"tools": [submit], "until_tool": "submit"}, "submit")
TYPED: tuple[dict[str, Any], str] = ({"output": int}, OUTPUT_TOOL)
BY_CALL = pytest.mark.parametrize(("options", "name"), [UNTIL, TYPED], ids=["until_tool", "output"])


def plain(output: Any) -> Any:
    """The number, whichever way it was asked for."""
    return output["value"] if isinstance(output, dict) else output


@BY_CALL
@pytest.mark.parametrize(
    ("before", "told"),
    [
        ([says("it is 1")] * 5, ["Call the tool"] * 5),
        ([("raw", '{"value": 1')], ["the arguments are no JSON object"]),
        ([("raw", "[1]")], ["the arguments are no JSON object"]),
        ([("raw", "")], ["required field missing @ value"]),
        ([("value", "1")], ['expected integer, got string "1" @ value']),
        ([("value", 1.0)], ["expected integer, got number 1.0 @ value"]),
        ([("value", True)], ["expected integer, got boolean true @ value"]),
        ([("val", 1)], ["required field missing @ value"]),
        ([("raw", "{}"), says("then no"), ("value", None)], ["required field", "Call the tool", "got null @ value"]),
        ([says("", stop="stop_sequence")], ["Call the tool"]),
        ([says("wait", stop="pause")], [None]),
    ],
    ids=["text", "broken", "array", "empty", "string", "float", "bool", "name", "mixed", "stop sequence", "pause"],
)
async def test_a_model_that_misbehaves_is_told_so_and_the_run_goes_on(
    options: dict[str, Any], name: str, before: Sequence[Any], told: Sequence[str | None]
) -> None:
    def step(given: Any) -> Step:
        if isinstance(given, Says):
            return given
        key, value = given
        return calls_raw(name, value) if key == "raw" else calls(name, **{key: value})

    model = ScriptedModel(*map(step, before), calls(name, value=1))

    result = await alloy.run("x", model=model, **options)

    assert (result.status, plain(result.output), result.turns) == (Status.COMPLETED, 1, len(before) + 1)
    for request, expected in zip(model.requests[1:], told, strict=True):
        last = request.messages[-1]
        if expected is None:
            assert isinstance(last, alloy.AssistantMessage)
        else:
            text = last.text if isinstance(last, alloy.UserMessage) else last.results[0].text  # type: ignore[union-attr]
            assert expected in text


@BY_CALL
async def test_of_two_calls_in_one_answer_the_first_that_succeeds_counts(options: dict[str, Any], name: str) -> None:
    model = ScriptedModel([calls(name, value="1"), calls(name, value=2), calls(name, value=3)])

    result = await alloy.run("x", model=model, **options)

    assert plain(result.output) == 2
    assert [record.outcome for record in result.tool_calls] == [Outcome.INVALID, Outcome.OK, Outcome.OK]
    assert result.turns == 1


@BY_CALL
async def test_the_rest_of_the_batch_runs_as_well(options: dict[str, Any], name: str) -> None:
    ran: list[str] = []

    async def note(text: str) -> None:
        """Note something."""
        ran.append(text)

    model = ScriptedModel([calls("note", text="a"), calls(name, value=2), calls("note", text="b")])

    result = await alloy.run("x", model=model, **options | {"tools": [*options.get("tools", ()), note]})

    assert ran == ["a", "b"]
    assert plain(result.output) == 2


@BY_CALL
async def test_a_model_that_never_calls_it_ends_at_its_turns(options: dict[str, Any], name: str) -> None:
    result = await alloy.run("x", model=ScriptedModel(says("no"), loop=True), max_turns=4, **options)

    assert (result.status, result.turns, result.output, result.has_output) == (Status.MAX_TURNS, 4, None, False)
    with pytest.raises(alloy.RunIncomplete):
        result.unwrap()


@pytest.mark.parametrize("stop", ["max_tokens", "refusal", "content_filter", "context_window", "other", "new_word"])
@pytest.mark.parametrize(
    ("make", "options"),
    [(ScriptedModel, UNTIL[0]), (ScriptedModel, TYPED[0]), (Held, TYPED[0])],
    ids=["until_tool", "output", "schema"],
)
async def test_a_model_that_stops_for_good_is_an_error_that_says_how(
    make: Callable[..., ScriptedModel], options: dict[str, Any], stop: str
) -> None:
    with pytest.raises(alloy.OutputMissing) as caught:
        await alloy.run("x", model=make(says('{"value": 1}', stop=stop)), **options)

    reason = StopReason(stop) if stop != "new_word" else StopReason.OTHER
    assert caught.value.stop == StopInfo(reason, stop)
    assert str(reason) in str(caught.value)
    assert caught.value.result is not None
    assert caught.value.result.status is Status.ERROR
    assert caught.value.result.text == '{"value": 1}'


@BY_CALL
async def test_a_call_that_is_cut_at_the_token_limit_is_not_taken(options: dict[str, Any], name: str) -> None:
    cut = [says("", stop="max_tokens"), calls(name, value=1)]
    model = ScriptedModel(cut, calls(name, value=2))

    result = await alloy.run("x", model=model, **options)

    assert plain(result.output) == 2
    assert [record.outcome for record in result.tool_calls] == [Outcome.NOT_STARTED, Outcome.OK]


async def test_text_that_is_no_json_goes_back_although_the_vendor_promised() -> None:
    model = Held(says("It is 1."), says("```json\n1\n```"), says("1"), says('{"value": 1}'))

    result = await alloy.run("x", model=model, output=int)

    assert (result.output, result.turns) == (1, 4)
    told = [message.text for message in result.messages if isinstance(message, alloy.UserMessage)][1:]
    assert ["no JSON" in text for text in told] == [True, True, False]
    assert "expected object, got integer 1" in told[2]


async def test_a_call_of_the_output_tool_that_was_not_offered_is_of_an_unknown_tool() -> None:
    model = Held(answers(value=1), says('{"value": 2}'))

    result = await alloy.run("x", model=model, output=int)

    assert (result.output, result.tool_calls[0].outcome) == (2, Outcome.UNKNOWN_TOOL)


async def test_after_the_turns_a_wrap_up_is_not_reminded() -> None:
    model = ScriptedModel(calls("submit", value="x"), says("I could not", stop="refusal"))

    result = await alloy.run(
        "x", model=model, tools=[submit], until_tool="submit", limits=alloy.Limits(max_turns=1, wrap_up=True)
    )

    assert (result.status, result.text) == (Status.MAX_TURNS, "I could not")
    assert isinstance(result.messages[-1], alloy.AssistantMessage)


async def test_a_tool_that_stops_the_run_ends_it_without_output() -> None:
    async def give_up() -> alloy.ToolResult:
        """Give up."""
        return alloy.ToolResult("given up", stop=True)

    result = await alloy.run("x", model=ScriptedModel(calls("give_up")), tools=[give_up], output=int)

    assert (result.status, result.output, result.has_output) == (Status.COMPLETED, None, False)


class OnceMore(alloy.Middleware):
    def __init__(self) -> None:
        self.seen: list[str] = []

    async def after_completion(self, run: alloy.RunInfo, message: alloy.AssistantMessage) -> alloy.Continue | None:
        self.seen.append(message.text)
        return alloy.Continue("are you sure?") if len(self.seen) == 1 else None


async def test_after_completion_sees_an_output_that_is_text_and_may_ask_for_more() -> None:
    middleware = OnceMore()
    model = Held(says('{"value": 1}'), says('{"value": 2}'))

    result = await alloy.run("x", model=model, output=int, middleware=[middleware])

    assert middleware.seen == ['{"value": 1}', '{"value": 2}']
    assert result.output == 2


# How it is asked for.


def test_output_and_until_tool_exclude_each_other() -> None:
    with pytest.raises(TypeError, match="output and until_tool exclude each other"):
        alloy.Agent(model="scripted:echo", tools=[submit], output=int, until_tool="submit")


@pytest.mark.parametrize("output", [bytes, "City", Form[Callable[[], int]](), complex])
def test_a_type_that_json_cannot_hold_is_refused_when_the_agent_is_made(output: Any) -> None:
    with pytest.raises(TypeError, match="output: JSON cannot hold"):
        alloy.Agent(model="scripted:echo", output=output)


def test_a_form_without_a_type_is_refused() -> None:
    with pytest.raises(TypeError, match="needs its type in brackets"):
        alloy.Agent(model="scripted:echo", output=Form())


def test_a_tool_of_the_name_of_the_output_tool_is_refused() -> None:
    async def answer() -> str:
        """Answer."""
        return ""

    with pytest.raises(ValueError, match="rename it"):
        alloy.Agent(model="scripted:echo", tools=[alloy.tool(answer, name=OUTPUT_TOOL)], output=int)


def test_agents_of_one_form_are_equal_and_show_it() -> None:
    agent = alloy.Agent(model="scripted:echo", output=Form[Literal["a"]]())

    assert agent == alloy.Agent(model="scripted:echo", output=Form[Literal["a"]]())
    assert agent != alloy.Agent(model="scripted:echo", output=Form[Literal["b"]]())
    assert "output=Form[typing.Literal['a']]()" in repr(agent)


async def test_a_request_to_an_agent_server_may_ask_for_an_output_of_its_own() -> None:
    model = ScriptedModel(says("hello"), answers(name="Oslo", people=7), answers(value=3))
    agent = alloy.Agent(model=model)

    async with alloy.open_agent(agent) as ref:
        plain = await ref.chat("hi")
        typed = await ref.chat("where?", output=City)
        number = await ref.chat("how many?", output=Form[int]())
        with pytest.raises(TypeError, match="exclude each other"):
            await ref.chat("x", output=int, until_tool="submit")

    assert (plain.text, plain.output) == ("hello", None)
    assert typed.output == City("Oslo", 7)
    assert number.output == 3


async def test_an_agent_that_is_a_tool_gives_its_output_as_json() -> None:
    inner = alloy.Agent(model=ScriptedModel([says("so:"), answers(name="Oslo", people=7)]), name="geo", output=City)
    outer = ScriptedModel(calls("geo", prompt="where?"), says("Oslo"))

    result = await alloy.run("x", model=outer, tools=[alloy.as_tool(inner)])

    told = outer.requests[1].messages[-1].results[0].text  # type: ignore[union-attr]
    assert json.loads(told) == {"name": "Oslo", "people": 7}
    assert result.text == "Oslo"


async def test_after_a_handoff_the_other_agents_output_is_asked_for() -> None:
    geo = alloy.Agent(model=ScriptedModel(answers(name="Oslo", people=7)), name="geo", output=City)
    model = ScriptedModel(calls("transfer_to_geo"))

    result = await alloy.run("x", model=model, tools=[alloy.handoff_to(geo)])

    assert (result.output, result.agent) == (City("Oslo", 7), "geo")


async def test_the_history_of_a_typed_run_can_be_sent_again() -> None:
    first = await alloy.run("x", model=ScriptedModel(answers(value=1)), output=int)
    model = ScriptedModel(answers(value=2))

    second = await alloy.run("again", model=model, output=int, history=first.messages)

    assert second.output == 2
    assert model.requests[0].messages[:-1] == first.messages


async def test_middleware_may_take_the_output_tool_away_and_then_it_cannot_be_called() -> None:
    class Bare(alloy.Middleware):
        async def before_completion(self, run: alloy.RunInfo, request: Request) -> Request:
            return attrs.evolve(request, tools=()) if run.turn == 1 else request

    model = ScriptedModel(answers(value=1), answers(value=2))

    result = await alloy.run("x", model=model, output=int, middleware=[Bare()])

    assert [record.outcome for record in result.tool_calls] == [Outcome.UNKNOWN_TOOL, Outcome.OK]
    assert result.output == 2


async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def test_giving_the_output_is_no_tool_call_for_the_limits() -> None:
    model = ScriptedModel([calls("add", a=1, b=1), calls("add", a=2, b=2), answers(value=3)])

    result = await alloy.run("x", model=model, tools=[add], output=int, limits=alloy.Limits(max_tool_calls=1))

    assert [record.outcome for record in result.tool_calls] == [Outcome.OK, Outcome.NOT_STARTED, Outcome.OK]
    assert (result.status, result.output) == (Status.COMPLETED, 3)


async def test_nor_for_a_budget() -> None:
    with alloy.Budget(tool_calls=1) as budget:
        result = await alloy.run(
            "x", model=ScriptedModel(calls("add", a=1, b=1), answers(value=2)), tools=[add], output=int
        )
        again = await alloy.run("x", model=ScriptedModel(answers(value=3)), tools=[add], output=int)

    assert (result.output, again.output) == (2, 3)
    assert budget.remaining()["tool_calls"] == 0


class NoAnswers(alloy.Middleware):
    async def before_tool_call(self, run: alloy.RunInfo, call: alloy.ToolCall) -> alloy.Block | alloy.Edit | None:
        if run.turn == 1:
            return alloy.Block("think again")
        return alloy.Edit({"value": 4}) if call.name == OUTPUT_TOOL else None


async def test_middleware_may_block_and_edit_the_output() -> None:
    model = ScriptedModel(answers(value=1), answers(value=2))

    with alloy.Budget(tool_calls=1):
        result = await alloy.run("x", model=model, output=int, middleware=[NoAnswers()])

    assert [record.outcome for record in result.tool_calls] == [Outcome.BLOCKED, Outcome.OK]
    assert result.output == 4


async def test_a_chain_of_models_is_asked_in_one_way() -> None:
    busy = alloy.Overloaded("busy")
    held, free = Held(fails(busy), name="held"), ScriptedModel(answers(value=1), name="free")
    both = Held(fails(busy), name="a"), Held(says('{"value": 2}'), name="b")

    mixed = await alloy.run("x", model=[held, free], output=int, retry=alloy.Retry(attempts=1))
    alike = await alloy.run("x", model=both, output=int, retry=alloy.Retry(attempts=1))

    assert (mixed.output, mixed.model) == (1, "scripted:free")
    assert (alike.output, alike.model) == (2, "scripted:b")
    assert [len(request.tools) for model in (held, free, *both) for request in model.requests] == [1, 1, 0, 0]


async def test_a_team_hands_an_output_on_as_json() -> None:
    geo = alloy.Agent(model=ScriptedModel([says("so:"), answers(name="Oslo", people=7)]), output=City)
    writer = ScriptedModel(says("Oslo is small."))

    async with alloy.Team({"geo": geo, "writer": alloy.Agent(model=writer)}) as team:
        result = await team.handoff(["geo", "writer"], "Where?")

    assert result.text == "Oslo is small."
    assert json.loads(writer.requests[0].messages[0].text) == {"name": "Oslo", "people": 7}  # type: ignore[union-attr]
