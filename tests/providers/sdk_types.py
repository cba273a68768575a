"""What the SDKs that have pydantic models instead of typed dicts say of a request's body.

Google's SDK has no type for the body of a REST request, but for all that is in one; its enumerations are open,
so that an unknown word is a warning only, which here is a fault. Mistral's and Ollama's pass over unknown keys,
which their servers do not, or to no effect.
"""

from __future__ import annotations

import json
import warnings
from typing import Any

from google.genai import types as google
from mistralai.client.models import ChatCompletionStreamRequest
from ollama import Message
from ollama._types import ChatRequest
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import SchemaValidator


class GeminiBody(BaseModel):
    """The body of `generateContent`."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=False, val_json_bytes="base64")
    contents: list[google.Content]
    system_instruction: google.Content | None = None
    tools: list[google.Tool] | None = None
    tool_config: google.ToolConfig | None = None
    safety_settings: list[google.SafetySetting] | None = None
    generation_config: google.GenerationConfig | None = None
    cached_content: str | None = None
    continuation_token: str | None = None


def gemini_type_faults(body: Any) -> list[str]:
    """What is wrong with the body of a request by Google's types."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            GeminiBody.model_validate_json(json.dumps(body))
        except ValidationError as error:
            return _told(error)
        except UserWarning as warning:
            return [str(warning)]
    return []


def _forbidding(schema: Any) -> Any:
    """The core schema of a model in which unknown keys are faults: the fields alone, as a class brings its own."""
    if isinstance(schema, list | tuple):
        return type(schema)(map(_forbidding, schema))
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") in ("model", "function-before"):  # the latter makes an object of what it does not know
        reference = {"ref": schema["ref"]} if "ref" in schema else {}
        return {**_forbidding(schema["schema"]), **reference}
    kept = ("metadata", "serialization", "cls", "config", "default", "function")
    out = {key: value if key in kept else _forbidding(value) for key, value in schema.items()}
    return {**out, "extra_behavior": "forbid"} if schema.get("type") == "model-fields" else out


_MISTRAL = SchemaValidator(_forbidding(TypeAdapter(ChatCompletionStreamRequest).core_schema))


def mistral_type_faults(body: Any) -> list[str]:
    """What is wrong with the body of a request by Mistral's types."""
    try:
        _MISTRAL.validate_json(json.dumps(body))
    except ValidationError as error:
        return _told(error)
    return []


# What Ollama's server knows and its Python client does not.
_REQUEST = {*ChatRequest.model_fields, "truncate", "shift"}
_MESSAGE = {*Message.model_fields, "tool_call_id"}


def ollama_type_faults(body: Any) -> list[str]:
    """What is wrong with the body of a request by Ollama's types, which pass over what they do not know."""
    try:
        messages = [Message.model_validate(_with_images(message)) for message in body["messages"]]
        ChatRequest.model_validate({**body, "messages": messages})
    except ValidationError as error:
        return _told(error)
    unknown = [*(body.keys() - _REQUEST), *(name for one in body["messages"] for name in one.keys() - _MESSAGE)]
    return [f"{name!r} is not known" for name in unknown]


def _with_images(message: Any) -> Any:
    """A message with its images as its type has them before they are sent."""
    return {**message, "images": [{"value": image} for image in message["images"]]} if "images" in message else message


def _told(error: ValidationError) -> list[str]:
    return [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
