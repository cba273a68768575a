"""The vendors: a row each, and `model_for`, which makes a model of a row. The only reader of their variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import attrs

from alloy.errors import closest_of
from alloy.llm.content import Origin
from alloy.llm.errors import MissingKey
from alloy.llm.models import CARD_FIELDS, ModelCard, card_for, evolve_card
from alloy.providers.anthropic import AnthropicMessages
from alloy.providers.client import VendorModel
from alloy.providers.codex_auth import PlanToken, Token, TokenFile, server_at
from alloy.providers.credentials import ApiKey, Auth, Credentials
from alloy.providers.dialect import Dialect, Profile
from alloy.providers.gemini import Gemini
from alloy.providers.ollama import OllamaChat
from alloy.providers.openai_chat import ChatCompletions
from alloy.providers.openai_responses import Responses
from alloy.providers.secret import Secret

_MESSAGES = AnthropicMessages()
_CHAT = ChatCompletions()
_RESPONSES = Responses()
_GEMINI = Gemini()
_OLLAMA = OllamaChat()

_DEEPSEEK = Profile(
    known_efforts=("none", "low", "high", "max"),
    thinking_switch=True,
    output_format="json_object",
    reasoning_with_calls=True,
)
_MISTRAL = Profile(
    known_efforts=("none", "high"),
    usage_option="none",
    file_parts="mistral",
    tool_choice_none=False,
    tool_ids="alnum9",
    answer_after_tools=True,
)

# Models before Gemini 3, and those of it that do not take each level of thinking.
_BEFORE_3: Mapping[str, Any] = {"thinking": "budget", "signed_calls": False, "files_in_results": False}
_BY_SCHEMA: Mapping[str, Any] = {"output": "schema"}  # of models whose vendor says that it enforces it
_NOT_MINIMAL: Mapping[str, Any] = {"known_efforts": ("low", "medium", "high"), **_BY_SCHEMA}
_GEMINI_MODELS: Mapping[str, Mapping[str, Any]] = {
    "gemini-1": {**_BEFORE_3, "efforts": False},
    "gemini-2.0": {**_BEFORE_3, "efforts": False},
    "gemini-2.5": {**_BEFORE_3, "known_efforts": ("none", "minimal", "low", "medium", "high")},
    "gemini-2.5-pro": {**_BEFORE_3, "known_efforts": ("minimal", "low", "medium", "high")},
    "gemma-": {**_BEFORE_3, "efforts": False},
    "gemini-3": _BY_SCHEMA,
    "gemini-4": _BY_SCHEMA,
    "gemini-3.1-pro": _NOT_MINIMAL,
    "gemini-3.7-flash": _NOT_MINIMAL,
    "gemini-3.8-flash": _NOT_MINIMAL,
    "gemini-4-argon": _NOT_MINIMAL,
}

# OpenAI's models reason from `o1` and `gpt-5` on; some of those by default, and some always.
_PLAIN: Mapping[str, Any] = {"efforts": False, "encrypted_reasoning": False}
_SINCE_5_6: Mapping[str, Any] = {
    "temperature_needs": "none",
    "known_efforts": ("none", "low", "medium", "high", "xhigh", "max"),
    **_BY_SCHEMA,
}


def _always(*efforts: str) -> Mapping[str, Any]:
    return {"temperature": False, "known_efforts": efforts, **_BY_SCHEMA}


_OPENAI_MODELS: Mapping[str, Mapping[str, Any]] = {
    "gpt-3.5": _PLAIN,
    "gpt-4": _PLAIN,
    "chatgpt-4o": _PLAIN,
    "gpt-5-chat": _PLAIN,
    "o1": _always("low", "medium", "high"),
    "o3": _always("low", "medium", "high"),
    "o4": _always("low", "medium", "high"),
    "codex-mini": _always("low", "medium", "high"),
    "gpt-5": _always("minimal", "low", "medium", "high"),
    "gpt-5-pro": _always("high"),
    "gpt-5.": {"temperature_needs": "default", **_BY_SCHEMA},
    "gpt-5.2-pro": _always("medium", "high", "xhigh"),
    "gpt-5.4-pro": _always("medium", "high", "xhigh"),
    "gpt-5.5": {"temperature_needs": "none", **_BY_SCHEMA},
    "gpt-5.5-pro": _always("medium", "high", "xhigh"),
    "gpt-5.6": _SINCE_5_6,
    "gpt-6": _SINCE_5_6,
    "gpt-6-astra": _always("low", "medium", "high", "xhigh", "max"),
    "gpt-6.1-sol": _always("low", "medium", "high", "xhigh", "max"),
}
_XAI_MODELS: Mapping[str, Mapping[str, Any]] = {
    "grok-4.3": {"known_efforts": ("none", "low", "medium", "high")},
    "grok-latest": {"known_efforts": ("none", "low", "medium", "high")},
    "grok-4.5": {"known_efforts": ("low", "medium", "high")},
    "grok-4.6": {"known_efforts": ("low", "medium", "high")},
    "grok-4.7": {"known_efforts": ("low", "medium", "high", "xhigh")},
    "grok-4.20": {"efforts": False},
    "grok-4-fast-non-reasoning": {"efforts": False},
    "grok-4-1-fast-non-reasoning": {"efforts": False},
}
_CLAUDE_MODELS: Mapping[str, Mapping[str, Any]] = {
    f"claude-{name}": _BY_SCHEMA  # of Claude 4.5 and later
    for name in (
        *(f"{size}-4-{minor}" for size in ("opus", "sonnet", "haiku") for minor in (5, 6, 7, 8, 9)),
        *(f"{size}-5" for size in ("opus", "sonnet", "haiku", "fable", "mythos")),
    )
}
_CODEX = Profile(temperature=False, limits_output=False, instructions=True)


@attrs.frozen(kw_only=True)
class Vendor:
    """Whom we can ask.

    Attributes:
        path: of requests, below the base URL, with `{model}` for the model; cut off where a user gives it as part
            of that.
        base_url: None where there is no usual one, and the user has to give it.
        variable: the environment variable of the key, and `other_variable` one that is looked at where it is not
            set. `base_url_variable` is that of the base URL.
        file_variable: the environment variable of a file with a token that expires.
        needs_key: without a key nothing is sent.
        models: fields of the profile that differ for models whose names begin so; the longest beginning counts.
    """

    name: str
    dialect: Dialect
    path: str
    base_url: str | None
    variable: str
    other_variable: str = ""
    base_url_variable: str = ""
    file_variable: str = ""
    auth: Auth = "bearer"
    needs_key: bool = True
    profile: Profile = Profile()
    models: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)


VENDORS: Mapping[str, Vendor] = {
    vendor.name: vendor
    for vendor in (
        Vendor(
            name="anthropic",
            dialect=_MESSAGES,
            path="/v1/messages",
            base_url="https://api.anthropic.com",
            variable="ANTHROPIC_API_KEY",
            auth="x-api-key",
            models=_CLAUDE_MODELS,
        ),
        Vendor(
            name="openai",
            dialect=_RESPONSES,
            path="/responses",
            base_url="https://api.openai.com/v1",
            variable="OPENAI_API_KEY",
            base_url_variable="OPENAI_BASE_URL",
            models=_OPENAI_MODELS,
        ),
        Vendor(
            name="codex",
            dialect=_RESPONSES,
            path="/responses",
            base_url="https://api.openai.com/v1",
            variable="CODEX_ACCESS_TOKEN",
            file_variable="CODEX_TOKEN_FILE",
            profile=_CODEX,
            models=_OPENAI_MODELS,
        ),
        Vendor(
            name="xai",
            dialect=_RESPONSES,
            path="/responses",
            base_url="https://api.x.ai/v1",
            variable="XAI_API_KEY",
            profile=Profile(runs_custom_tools=True, reports_cost=True),
            models=_XAI_MODELS,
        ),
        Vendor(
            name="openrouter",
            dialect=_CHAT,
            path="/chat/completions",
            base_url="https://openrouter.ai/api/v1",
            variable="OPENROUTER_API_KEY",
            profile=Profile(effort_field="reasoning", usage_option="usage", reports_cost=True),
        ),
        Vendor(
            name="groq",
            dialect=_CHAT,
            path="/chat/completions",
            base_url="https://api.groq.com/openai/v1",
            variable="GROQ_API_KEY",
            profile=Profile(max_tokens_field="max_completion_tokens"),
            models={"openai/gpt-oss": {"known_efforts": ("low", "medium", "high")}},
        ),
        Vendor(
            name="deepseek",
            dialect=_CHAT,
            path="/chat/completions",
            base_url="https://api.deepseek.com",
            variable="DEEPSEEK_API_KEY",
            profile=_DEEPSEEK,
        ),
        Vendor(
            name="mistral",
            dialect=_CHAT,
            path="/chat/completions",
            base_url="https://api.mistral.ai/v1",
            variable="MISTRAL_API_KEY",
            profile=_MISTRAL,
        ),
        Vendor(
            name="google",
            dialect=_GEMINI,
            path="/models/{model}:streamGenerateContent?alt=sse",
            base_url="https://generativelanguage.googleapis.com/v1beta",
            variable="GOOGLE_API_KEY",
            other_variable="GEMINI_API_KEY",
            auth="x-goog-api-key",
            profile=Profile(known_efforts=("minimal", "low", "medium", "high")),
            models=_GEMINI_MODELS,
        ),
        Vendor(
            name="ollama",
            dialect=_OLLAMA,
            path="/api/chat",
            base_url="http://localhost:11434",
            variable="OLLAMA_API_KEY",
            base_url_variable="OLLAMA_HOST",
            needs_key=False,
            profile=Profile(context_window=32_768),
        ),
        Vendor(
            name="openai-compatible",
            dialect=_CHAT,
            path="/chat/completions",
            base_url=None,
            variable="OPENAI_COMPATIBLE_API_KEY",
            base_url_variable="OPENAI_COMPATIBLE_BASE_URL",
            needs_key=False,
        ),
    )
}


def model_for(
    spec: str,
    *,
    api_key: str | None = None,
    base_url: str | None = None,
    headers: Mapping[str, str] = {},
    **profile: Any,
) -> VendorModel:
    """Make the model that `spec` names. Nothing is sent, and no connection made, before it is asked.

    Args:
        spec: `"vendor:model"`; all after the first colon is the model.
        api_key: instead of the one in the environment, which is read now.
        base_url: where requests go, without the path of the requests themselves.
        headers: sent with every request, besides the dialect's own.
        profile: fields of `Profile` that are different from the vendor's usual ones, and of `ModelCard` that the table
            of models does not have, or has wrong.

    Raises:
        ValueError: the vendor is not known, `spec` names no model, the base URL is missing or is none, or the
            key can stand in no header.
        TypeError: `profile` has an unknown option, or a value of the wrong type.
        MissingKey: no key is given, and there is none in the environment.
    """
    vendor, model = _parse(spec)
    endpoint = _endpoint(vendor, base_url)
    of_card, of_profile = _sorted(profile)
    chosen = _profile(vendor, model, of_profile)
    card = _card(vendor, model, chosen, of_card)
    if card.max_output is not None and card.max_output < chosen.max_output_tokens:
        chosen = attrs.evolve(chosen, max_output_tokens=card.max_output)
    return VendorModel(
        name=spec,
        origin=Origin(vendor.dialect.name, vendor.name, endpoint, model),
        dialect=vendor.dialect,
        profile=chosen,
        base_url=endpoint,
        headers=dict(headers),
        credentials=_credentials(vendor, spec, api_key, endpoint),
        card=card,
    )


def variables(vendor: Vendor) -> tuple[str, ...]:
    """The environment variables that may hold a vendor's key, or say in which file it is."""
    return tuple(filter(None, (vendor.variable, vendor.other_variable, vendor.file_variable)))


def has_key(vendor: Vendor) -> bool:
    """One of them is set; whether the key is a good one nobody knows before it is used."""
    return any(os.environ.get(name, "").strip() for name in variables(vendor))


def _parse(spec: str) -> tuple[Vendor, str]:
    name, colon, model = spec.partition(":")
    vendor = VENDORS.get(name)
    if vendor is None:
        what = f"unknown vendor {name!r}" if colon else f"{spec!r} names no vendor; write 'vendor:model'"
        raise ValueError(f"{what}; known: {', '.join(VENDORS)}{closest_of(name, VENDORS)}")
    if not model.strip():
        raise ValueError(f"{spec!r} names no model; write '{name}:' and the model's name at the vendor")
    return vendor, model


def _sorted(options: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The options that are of the model's card, and those of its profile."""
    known = [*CARD_FIELDS, *(field.name for field in attrs.fields(Profile))]
    for name in options:
        if name not in known:
            raise TypeError(f"unknown profile option {name!r}; known: {', '.join(known)}{closest_of(name, known)}")
    of_card = {name: value for name, value in options.items() if name in CARD_FIELDS}
    return of_card, {name: value for name, value in options.items() if name not in CARD_FIELDS}


def _card(vendor: Vendor, model: str, profile: Profile, options: Mapping[str, Any]) -> ModelCard:
    card = attrs.evolve(card_for(vendor.name, model), reports_cost=profile.reports_cost)
    if profile.context_window is not None:  # which is all that the server is asked for
        card = attrs.evolve(card, window=profile.context_window)
    return evolve_card(card, options)


def _profile(vendor: Vendor, model: str, options: Mapping[str, Any]) -> Profile:
    beginning = max(filter(model.startswith, vendor.models), key=len, default=None)
    of_model = vendor.models[beginning] if beginning is not None else {}
    return attrs.evolve(vendor.profile, **{**of_model, **options})


def _endpoint(vendor: Vendor, base_url: str | None) -> str:
    given = base_url or _from_environment(vendor) or vendor.base_url
    if not given:
        raise ValueError(
            f"{vendor.name} needs a base URL: give one, as in base_url='http://localhost:8000/v1', "
            f"or set {vendor.base_url_variable}"
        )
    parts = urlsplit(given.strip())
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
        raise ValueError(f"base_url must be like 'https://host/path', without a query, got {given!r}")
    if "@" in parts.netloc:
        raise ValueError("base_url must not hold a user or password; give api_key= or headers=")
    return server_at(_without_path(parts.geturl().rstrip("/"), vendor.path))


def _from_environment(vendor: Vendor) -> str:
    """The base URL of the environment; a bare host, as Ollama has it, gets what it lacks of the usual one."""
    given = os.environ.get(vendor.base_url_variable, "").strip()
    if not given or "://" in given or vendor.base_url is None:
        return given
    usual = urlsplit(vendor.base_url)
    parts = urlsplit(f"{usual.scheme}://{given}")
    host = parts.hostname or usual.hostname or ""
    return f"{usual.scheme}://{f'[{host}]' if ':' in host else host}:{parts.port or usual.port}{parts.path}"


def _without_path(url: str, path: str) -> str:
    """Cut off what the URL already holds of the requests' path, whole or its beginning."""
    while path:
        if url.endswith(path):
            return url.removesuffix(path).rstrip("/")
        path = path.rpartition("/")[0]
    return url


def _credentials(vendor: Vendor, spec: str, api_key: str | None, endpoint: str) -> Credentials:
    key = _key(vendor, api_key)
    if vendor.file_variable:
        path = os.environ.get(vendor.file_variable, "").strip()
        if key is not None or path:
            return PlanToken(TokenFile(path) if key is None else Token(access=key), base_url=endpoint)
    if key is None and vendor.needs_key:
        variables = " or ".join(filter(None, (vendor.variable, vendor.file_variable)))
        raise MissingKey(
            f"no key for {vendor.name}: set {variables}, or give one with alloy.model({spec!r}, api_key=…); "
            f"`alloy demo` needs none",
            variable=vendor.variable,
            vendor=vendor.name,
            model=spec.partition(":")[2],
        )
    return ApiKey(key, vendor.auth)


def _key(vendor: Vendor, api_key: str | None) -> Secret | None:
    where, key = ("api_key", api_key.strip()) if api_key is not None else ("", "")
    for variable in (vendor.variable, vendor.other_variable):
        if not key:
            where, key = variable, os.environ.get(variable, "").strip()
    try:
        return Secret(key) if key else None
    except ValueError as error:
        raise ValueError(f"the key in {where} cannot be sent: {error}") from None
