"""A sub-agent wants to delete files, and somebody else decides while it waits: in a service, a page with buttons."""

import trio

import alloy
from alloy.testing import ScriptedModel, calls, says


@alloy.tool(approve=True)
async def delete(path: str) -> str:
    """Delete a file."""
    return f"deleted {path}"


async def empty_trash(ctx: alloy.ToolContext) -> str:
    """Empty the trash, after asking for how many days back."""
    return f"emptied what is older than {await ctx.ask('how many days are to be kept?')} days"


def lead() -> alloy.Agent:
    wishes = [calls("delete", path=path) for path in ("draft.txt", "thesis.txt", "notes.txt")]
    cleaner = alloy.Agent(
        name="cleaner",
        model=ScriptedModel([*wishes, calls("empty_trash")], says("All but the thesis is gone."), name="cleaner"),
        tools=[delete, empty_trash],
    )
    model = ScriptedModel(calls("cleaner", prompt="Clean up."), says("Your folder is clean."), name="lead")
    return alloy.Agent(name="lead", model=model, tools=[alloy.as_tool(cleaner)])


def decision(pending: alloy.Pending) -> alloy.Decision:
    """What the person thinks of it."""
    if pending.kind == "question" or pending.call is None:
        return alloy.Answer("30")
    match pending.call.arguments["path"]:
        case "thesis.txt":
            return alloy.Deny("that is two years of work")
        case "notes.txt":
            return alloy.Edit({"path": "notes.old.txt"})
    return alloy.Approve()


async def main() -> None:
    async with alloy.open_agent(lead()) as ref, ref.subscribe() as events:
        await ref.send_message("Make room on my disk.")
        async for event in events:
            match event:
                case alloy.ApprovalRequested(pending=pending):
                    print(pending.question)
                    await ref.decide(pending.id, decision(pending))
                case alloy.ToolFinished(result=result):
                    print(f"- {result.text}")
                case alloy.RunFinished(result=result) if event.agent_path == ("lead",):
                    print(result.text)
                    break


trio.run(main)
