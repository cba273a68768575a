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
from alloy.providers.base_url import BaseURL, read_base_url
from alloy.providers.client import VendorModel
from alloy.providers.codex_auth import PlanToken, Token, TokenFile
from alloy.providers.credentials import ApiKey, Auth, Credentials
from alloy.providers.dialect import Dialect, Profile
from alloy.providers.gemini import Gemini
from alloy.providers.ollama import OllamaChat
from alloy.providers.openai_chat import ChatCompletions
from alloy.providers.openai_responses import Responses
from alloy.providers.profiles import (
    CLAUDE_MODELS,
    CODEX,
    DEEPSEEK,
    GEMINI_MODELS,
    MISTRAL,
    OPENAI,
    OPENAI_MODELS,
    XAI,
    XAI_MODELS,
)
from alloy.providers.secret import Secret

_MESSAGES = AnthropicMessages()
_CHAT = ChatCompletions()
_RESPONSES = Responses()
_GEMINI = Gemini()
_OLLAMA = OllamaChat()


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

    A vendor that is in no table of ours is made in the same way, and asked by `Vendor.model`.
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

    def model(
        self,
        model: str,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        headers: Mapping[str, str] = {},
        **profile: Any,
    ) -> VendorModel:
        """Make one of its models. See `model_for`."""
        spec = f"{self.name}:{model}"
        place = _base_url(self, base_url)
        of_card, of_profile = _sorted(profile)
        chosen = _profile(self, model, of_profile)
        card = _card(self, model, chosen, of_card)
        if card.max_output is not None and card.max_output < chosen.max_output_tokens:
            chosen = attrs.evolve(chosen, max_output_tokens=card.max_output)
        return VendorModel(
            name=spec,
            origin=Origin(self.dialect.name, self.name, place.url, model),
            dialect=self.dialect,
            profile=chosen,
            base_url=place.url,
            query=place.query,
            headers=dict(headers),
            credentials=_credentials(self, spec, api_key, place),
            card=card,
        )


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
            models=CLAUDE_MODELS,
        ),
        Vendor(
            name="openai",
            dialect=_RESPONSES,
            path="/responses",
            base_url="https://api.openai.com/v1",
            variable="OPENAI_API_KEY",
            base_url_variable="OPENAI_BASE_URL",
            profile=OPENAI,
            models=OPENAI_MODELS,
        ),
        Vendor(
            name="codex",
            dialect=_RESPONSES,
            path="/responses",
            base_url="https://api.openai.com/v1",
            variable="CODEX_ACCESS_TOKEN",
            file_variable="CODEX_TOKEN_FILE",
            profile=CODEX,
            models=OPENAI_MODELS,
        ),
        Vendor(
            name="xai",
            dialect=_RESPONSES,
            path="/responses",
            base_url="https://api.x.ai/v1",
            variable="XAI_API_KEY",
            profile=XAI,
            models=XAI_MODELS,
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
            profile=DEEPSEEK,
        ),
        Vendor(
            name="mistral",
            dialect=_CHAT,
            path="/chat/completions",
            base_url="https://api.mistral.ai/v1",
            variable="MISTRAL_API_KEY",
            profile=MISTRAL,
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
            models=GEMINI_MODELS,
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
    return vendor.model(model, api_key=api_key, base_url=base_url, headers=headers, **profile)


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


def _base_url(vendor: Vendor, base_url: str | None) -> BaseURL:
    given = base_url or _from_environment(vendor) or vendor.base_url
    if not given:
        raise ValueError(
            f"{vendor.name} needs a base URL: give one, as in base_url='http://localhost:8000/v1', "
            f"or set {vendor.base_url_variable}"
        )
    return read_base_url(given, vendor.path)


def _from_environment(vendor: Vendor) -> str:
    """The base URL of the environment; a bare host, as Ollama has it, gets what it lacks of the usual one."""
    given = os.environ.get(vendor.base_url_variable, "").strip()
    if not given or "://" in given or vendor.base_url is None:
        return given
    usual = urlsplit(vendor.base_url)
    parts = urlsplit(f"{usual.scheme}://{given}")
    host = parts.hostname or usual.hostname or ""
    return f"{usual.scheme}://{f'[{host}]' if ':' in host else host}:{parts.port or usual.port}{parts.path}"


def _credentials(vendor: Vendor, spec: str, api_key: str | None, place: BaseURL) -> Credentials:
    key = _key(vendor, api_key)
    if vendor.file_variable:
        path = os.environ.get(vendor.file_variable, "").strip()
        if key is not None or path:
            return PlanToken(TokenFile(path) if key is None else Token(access=key), base_url=place.url)
    if key is None and vendor.needs_key:
        variables = " or ".join(filter(None, (vendor.variable, vendor.file_variable)))
        raise MissingKey(
            f"no key for {vendor.name}: set {variables}, or give one with alloy.model({spec!r}, api_key=…); "
            f"`alloy demo` needs none",
            variable=vendor.variable,
            vendor=vendor.name,
            model=spec.partition(":")[2],
        )
    return ApiKey(key, "api-key" if place.is_azure else vendor.auth)


def _key(vendor: Vendor, api_key: str | None) -> Secret | None:
    where, key = ("api_key", api_key.strip()) if api_key is not None else ("", "")
    for variable in (vendor.variable, vendor.other_variable):
        if not key:
            where, key = variable, os.environ.get(variable, "").strip()
    try:
        return Secret(key) if key else None
    except ValueError as error:
        raise ValueError(f"the key in {where} cannot be sent: {error}") from None
