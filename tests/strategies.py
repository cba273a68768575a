"""Hypothesis strategies for the nouns."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import strategies as st

from alloy.llm.content import (
    Audio,
    CacheMark,
    Citation,
    Document,
    Image,
    Opaque,
    Origin,
    Outcome,
    ServerTool,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Unknown,
    Video,
)
from alloy.llm.message import AssistantMessage, Message, StopInfo, StopReason, ToolMessage, UserMessage
from alloy.llm.usage import Usage

texts = st.text(max_size=20)
ids = st.text("abcXYZ019_-", min_size=1, max_size=12)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
json_objects = st.dictionaries(texts, json_values, max_size=3)
origins = st.builds(
    Origin, st.sampled_from(["anthropic.messages", "openai.chat"]), st.sampled_from(["a", "b"]), ids, ids
)
opaques = st.builds(Opaque, origins, st.sampled_from(["signature", "item"]), json_values, id=st.none() | ids)
opaque_tuples = st.lists(opaques, max_size=2).map(tuple)
citations = st.builds(Citation, st.none() | texts, st.none() | texts, st.none() | texts, json_values)
text_items = st.builds(Text, texts, citations=st.lists(citations, max_size=2).map(tuple), opaque=opaque_tuples)


def _media(cls: type) -> st.SearchStrategy:
    given = {"media_type": st.just("image/png"), "name": st.none() | texts}
    return st.one_of(
        st.builds(cls, st.binary(max_size=20), **given),
        st.builds(cls, url=texts),
        st.builds(cls, file_id=ids),
    )


media = st.one_of(*map(_media, (Image, Document, Audio, Video)))
calls = st.builds(
    ToolCall,
    ids,
    ids,
    json_objects,
    arguments_text=texts,
    parse_error=st.none() | texts,
    opaque=opaque_tuples,
)
user_messages = st.builds(
    UserMessage,
    st.lists(text_items | media | st.builds(CacheMark, st.sampled_from(["5m", "1h"])), min_size=1, max_size=3),
    source=st.sampled_from(["user", "steer", "follow_up", "engine"]),
)
usages = st.builds(
    Usage,
    input_tokens=st.integers(0, 10**9),
    output_tokens=st.integers(0, 10**9),
    cache_read_tokens=st.integers(0, 10**9),
    requests=st.integers(0, 5),
    server_tool_calls=st.dictionaries(ids, st.integers(0, 9), max_size=2),
    cost=st.none() | st.decimals(0, 100, places=6, allow_nan=False),
    context_tokens=st.none() | st.integers(0, 10**6),
    raw=json_values,
)
stops = st.builds(
    StopInfo, st.sampled_from(StopReason), st.none() | texts, sequence=st.none() | texts, detail=json_objects
)
assistant_messages = st.builds(
    AssistantMessage,
    st.lists(
        text_items
        | st.builds(Thinking, texts, summary=st.booleans(), redacted=st.booleans(), opaque=opaque_tuples)
        | calls
        | media
        | st.builds(ServerTool, st.sampled_from(["call", "result"]), ids, ids, json_values)
        | st.builds(Unknown, json_values),
        max_size=4,
    ),
    stop=stops,
    usage=st.none() | usages,
    model=texts,
    origin=st.none() | origins,
    response_id=st.none() | ids,
    complete=st.booleans(),
)
results = st.builds(
    ToolResult,
    texts | st.lists(text_items | _media(Image) | _media(Document), max_size=2),
    details=json_values,
    is_error=st.booleans(),
    stop=st.booleans(),
    call_id=ids,
    name=ids,
    outcome=st.sampled_from(Outcome),
)
tool_messages = st.builds(ToolMessage, st.lists(results, max_size=3))
messages: st.SearchStrategy[Message] = st.one_of(user_messages, assistant_messages, tool_messages)
costs = st.none() | st.just(Decimal("0.5"))
