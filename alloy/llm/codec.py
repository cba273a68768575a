"""Content and messages as JSON, and back: exact, tagged with `kind`, versioned with `v`.

Reading is strict where it matters – an unknown kind or version is refused, never guessed – and lenient
about fields that a later minor version may add.
"""

from __future__ import annotations

import base64
import types
import typing
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any, Union

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn

from alloy.errors import AlloyError
from alloy.llm.content import (
    JSON,
    Audio,
    CacheMark,
    Citation,
    Document,
    Image,
    Opaque,
    Origin,
    ServerTool,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Unknown,
    Video,
)
from alloy.llm.message import AssistantMessage, StopInfo, ToolMessage, UserMessage
from alloy.llm.usage import Usage

VERSION = 1

KINDS: dict[str, type] = {
    "text": Text,
    "thinking": Thinking,
    "tool_call": ToolCall,
    "tool_result": ToolResult,
    "image": Image,
    "document": Document,
    "audio": Audio,
    "video": Video,
    "server_tool": ServerTool,
    "unknown": Unknown,
    "cache_mark": CacheMark,
    "user_message": UserMessage,
    "assistant_message": AssistantMessage,
    "tool_message": ToolMessage,
    "usage": Usage,
    "stop_info": StopInfo,
    "citation": Citation,
    "opaque": Opaque,
    "origin": Origin,
}


class CodecError(AlloyError, ValueError):
    """JSON that is not what `to_json` makes: an unknown kind or version, or a field that does not fit.

    Attributes:
        version: the version that is not known, where that is what is wrong; else None.
    """

    def __init__(self, message: str = "", *, version: JSON = None, result: Any = None) -> None:
        super().__init__(message, result=result)
        self.version = version


class Codec:
    """The JSON of a closed set of frozen classes, which may hold one another.

    Attributes:
        kinds: the classes by their `kind` tag.
    """

    def __init__(self, kinds: Mapping[str, type]) -> None:
        self.kinds: dict[str, type] = dict(kinds)
        self._kind_of = {cls: kind for kind, cls in kinds.items()}
        self._converter = converter = cattrs.Converter(detailed_validation=False)
        converter.register_unstructure_hook(bytes, lambda value: base64.b64encode(value).decode("ascii"))
        converter.register_structure_hook(bytes, lambda value, _: base64.b64decode(value, validate=True))
        converter.register_unstructure_hook(Decimal, str)
        converter.register_structure_hook(Decimal, lambda value, _: Decimal(value))
        converter.register_structure_hook_func(self._is_tagged_union, self._structure_tagged)
        converter.register_unstructure_hook_func(self._is_tagged_union, lambda value: converter.unstructure(value))
        converter.register_structure_hook_func(lambda tp: tp is object, lambda value, _: value)
        converter.register_unstructure_hook_func(lambda tp: tp is object, plain)
        converter.register_unstructure_hook_func(
            lambda tp: isinstance(tp, type) and issubclass(tp, StrEnum), lambda value: value.value
        )
        for cls in self._kind_of:
            attrs.resolve_types(cls)
        converter.register_unstructure_hook_factory(lambda tp: tp in self._kind_of, self._unstructure_hook)
        converter.register_structure_hook_factory(lambda tp: tp in self._kind_of, self._structure_hook)

    def knows(self, cls: type) -> bool:
        """Whether it is one of the classes."""
        return cls in self._kind_of

    def to_json(self, value: object) -> JSON:
        """Turn a value of one of the classes into plain JSON values: a dict with `kind` and `v`.

        Raises:
            TypeError: it is of none of the classes.
        """
        if not self.knows(type(value)):
            known = ", ".join(self.kinds)
            raise TypeError(f"no JSON form is known for {type(value).__name__}; there is one for {known}")
        return self._converter.unstructure(value)

    def from_json(self, data: JSON) -> Any:
        """Make the value again that `to_json` was given; equal to it.

        Raises:
            CodecError: `data` is not what `to_json` makes.
        """
        if not isinstance(data, Mapping):
            raise CodecError(f"expected an object with kind and v, got {type(data).__name__}")
        return self._structure_tagged(data, None)

    def _structure_tagged(self, data: JSON, _: object) -> Any:
        kind = data.get("kind") if isinstance(data, Mapping) else None
        cls = self.kinds.get(kind) if isinstance(kind, str) else None
        if cls is None:
            raise CodecError(f"unknown kind {kind!r}; known: {', '.join(self.kinds)}")
        return self._converter.structure(data, cls)

    def _structure_hook(self, cls: type) -> Any:
        """Check kind and version, wherever the value stands, then the fields."""
        inner: Callable[[Any, Any], Any] = make_dict_structure_fn(cls, self._converter)
        expected = self._kind_of[cls]

        def structure(data: JSON, tp: Any) -> Any:
            if not isinstance(data, Mapping) or (kind := data.get("kind")) != expected:
                raise CodecError(f"expected an object of kind {expected!r}, got {data!r:.80}")
            if (version := data.get("v")) != VERSION:
                raise CodecError(
                    f"unknown version {version!r} of {kind!r}; this alloy reads version {VERSION}", version=version
                )
            try:
                return inner(data, tp)
            except CodecError:
                raise
            except Exception as error:  # cattrs raises many, and a bare one for what no Literal has
                raise CodecError(f"{kind!r} cannot be read: {type(error).__name__}: {error}") from error

        return structure

    def _unstructure_hook(self, cls: type) -> Any:
        """Fields that still have their default are left out; kind and version come first."""
        inner: Callable[[Any], dict[str, JSON]] = make_dict_unstructure_fn(
            cls, self._converter, _cattrs_omit_if_default=True
        )
        head = {"kind": self._kind_of[cls], "v": VERSION}
        return lambda value: {**head, **inner(value)}

    def _is_tagged_union(self, tp: Any) -> bool:
        """A union of tagged classes, and nothing else but None."""
        if typing.get_origin(tp) not in (Union, types.UnionType):
            return False
        members = [arm for arm in typing.get_args(tp) if arm is not types.NoneType]
        return len(members) > 1 and all(arm in self._kind_of for arm in members)


def to_json(value: object) -> JSON:
    """Turn a message or a content item into plain JSON values: a dict with `kind` and `v`.

    Bytes become base64, money a string. `ToolResult.details` that JSON cannot hold become their `repr`.

    Raises:
        TypeError: it is no message and no content item.
    """
    return _messages.to_json(value)


def from_json(data: JSON) -> Any:
    """Make the message or content item again that `to_json` was given; equal to it.

    Raises:
        CodecError: `data` is not what `to_json` makes: its kind or version is unknown, or a field does not fit.
    """
    return _messages.from_json(data)


def plain(value: object) -> JSON:
    """Return `value` if JSON can hold it exactly; else what it says of itself."""
    match value:
        case None | bool() | int() | str():
            return value
        case float() if value == value and value not in (float("inf"), float("-inf")):
            return value
        case list():
            return [plain(item) for item in value]
        case dict() if all(isinstance(key, str) for key in value):
            return {key: plain(item) for key, item in value.items()}
        case _ if _messages.knows(type(value)):
            return to_json(value)
        case _:
            return repr(value)


_messages = Codec(KINDS)
