"""read_file, write_file, edit_file. All files go through one path policy, `alloy.tools.paths`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import attrs
import trio

from alloy.llm.content import ToolResult
from alloy.tools.builtin.editing import Edit, diff, edited
from alloy.tools.builtin.reading import read
from alloy.tools.context import ToolContext
from alloy.tools.define import Tool, tool
from alloy.tools.errors import ToolError
from alloy.tools.paths import PathPolicy, Place, open_file, replace_file

T = TypeVar("T")

EDIT_BYTES = 10 << 20  # of a file that can be edited


@attrs.frozen
class Files:
    """The file tools, with these folders allowed besides the working directory."""

    roots: tuple[Path, ...] = ()

    async def read_file(
        self,
        path: Annotated[str, "The file, relative to the working directory."],
        offset: Annotated[int, "First line wanted; the first line of a file is 1."] = 1,
        limit: Annotated[int, "Most lines to return."] = 2_000,
        *,
        context: ToolContext,
    ) -> str | ToolResult:
        """Read a text file or an image.

        Each line of text comes with its number and a tab before it, which are no part of the file. Very long
        lines are shortened. If there is more than fits, the answer says with which offset to read on.

        Raises:
            ToolError: the path is outside the allowed folders or is no readable text file or image;
                `offset` or `limit` is less than 1.
        """
        if offset < 1 or limit < 1:
            raise ToolError(f"offset and limit must be 1 or more, got {offset} and {limit}")

        def page(place: Place) -> str | ToolResult:
            with open_file(place) as file:
                return read(file, path, offset, limit, trio.from_thread.check_cancelled)

        return await self._at(path, context, page)

    async def write_file(
        self,
        path: Annotated[str, "The file, relative to the working directory."],
        content: Annotated[str, "All that the file is to hold."],
        *,
        context: ToolContext,
    ) -> str:
        """Write a file whole, replacing what was in it. Missing folders are made.

        Raises:
            ToolError: the path is outside the allowed folders, or cannot be written.
        """
        try:
            data = content.encode()
        except UnicodeEncodeError as error:
            raise ToolError(f"content cannot be written as UTF-8: {error}") from error

        def write(place: Place) -> str:
            is_new = replace_file(place, data, trio.from_thread.check_cancelled)
            return f"wrote {len(data)} bytes to {'the new file ' if is_new else ''}{path}"

        return await self._at(path, context, write)

    async def edit_file(
        self,
        path: Annotated[str, "The file, relative to the working directory."],
        old: Annotated[str | None, "The text to replace, exactly as it is in the file, without line numbers."] = None,
        new: Annotated[str | None, "The text to put in its place."] = None,
        replace_all: Annotated[bool, "Replace every occurrence of old; else it must occur exactly once."] = False,
        edits: Annotated[list[Edit] | None, "More replacements: all are made, or none."] = None,
        *,
        context: ToolContext,
    ) -> str:
        """Replace text in a file. Answers with a diff of what changed.

        Raises:
            ToolError: the path is outside the allowed folders or is no text file; a text to replace is empty, is
                the same as the new one, does not occur, or occurs more than once without `replace_all`.
        """
        if (old is None) != (new is None):
            raise ToolError("old and new belong together; give both, or neither and edits")
        wanted = list(edits or ())
        if old is not None and new is not None:
            wanted.insert(0, Edit(old, new, replace_all))
        if not wanted:
            raise ToolError("there is nothing to replace; give old and new, or edits")

        def edit(place: Place) -> str:
            with open_file(place) as file:
                before = file.read(EDIT_BYTES + 1)
            if len(before) > EDIT_BYTES:
                raise ToolError(f"{path!r} has more than {EDIT_BYTES} bytes, which is too much to edit")
            try:
                after = edited(before, wanted)
            except ToolError as error:
                raise ToolError(f"{path!r} is not changed: {error}") from error
            replace_file(place, after, trio.from_thread.check_cancelled)
            return diff(before, after, path)

        return await self._at(path, context, edit)

    async def _at(self, path: str, context: ToolContext, act: Callable[[Place], T]) -> T:
        """Do what blocks in a thread, at the place that the path leads to."""
        policy = PathPolicy((context.working_directory, *context.roots, *self.roots))
        return await trio.to_thread.run_sync(lambda: act(policy.locate(path)))


def file_tools(files: Files) -> tuple[Tool, Tool, Tool]:
    """Return read_file, write_file and edit_file."""
    return tool(files.read_file, concurrent=True, replay="safe"), tool(files.write_file), tool(files.edit_file)


read_file: Tool
write_file: Tool
edit_file: Tool
read_file, write_file, edit_file = file_tools(Files())
