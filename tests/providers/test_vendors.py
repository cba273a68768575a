"""The table of vendors, and what `model_for` makes of a name, a key and a base URL."""

from __future__ import annotations

import inspect

import pytest

from alloy.llm import MissingKey, Model, Origin
from alloy.llm.request import EFFORTS
from alloy.providers import vendors
from alloy.providers.base_url import read_base_url
from alloy.providers.client import VendorModel
from alloy.providers.credentials import ApiKey
from alloy.providers.dialect import Profile
from alloy.providers.secret import Secret
from alloy.providers.vendors import VENDORS, model_for


def key_of(model: VendorModel) -> str | None:
    assert isinstance(model.credentials, ApiKey)
    secret = model.credentials.secret
    return None if secret is None else secret.reveal()


def test_a_name_is_a_vendor_and_a_model() -> None:
    model = model_for("anthropic:claude-sonnet-5", api_key="sk-1234")

    assert isinstance(model, Model)
    assert model.name == "anthropic:claude-sonnet-5"
    assert model.origin == Origin("anthropic.messages", "anthropic", "https://api.anthropic.com", "claude-sonnet-5")
    assert model.base_url == "https://api.anthropic.com"
    assert model.credentials == ApiKey(Secret("sk-1234"), "x-api-key")


@pytest.mark.parametrize("name", ["meta-llama/llama-3.3-70b-instruct:free", "qwen3:0.6b", "a/b:c:d"])
def test_all_after_the_first_colon_is_the_model(name: str) -> None:
    assert model_for(f"openrouter:{name}", api_key="k").origin.model == name


def test_an_unknown_vendor_is_told_with_the_known_ones_and_the_closest() -> None:
    with pytest.raises(ValueError, match=r"unknown vendor 'antropic'; known: anthropic, .*did you mean 'anthropic'\?"):
        model_for("antropic:claude-sonnet-5")
    with pytest.raises(ValueError, match=r"'claude-sonnet-5' names no vendor; write 'vendor:model'; known: anthropic"):
        model_for("claude-sonnet-5")


@pytest.mark.parametrize("spec", ["groq:", "groq:  "])
def test_a_vendor_alone_is_no_model(spec: str) -> None:
    with pytest.raises(ValueError, match="names no model"):
        model_for(spec, api_key="k")


# Keys.


@pytest.mark.parametrize(
    ("vendor", "variable"),
    [
        ("anthropic", "ANTHROPIC_API_KEY"),
        ("openrouter", "OPENROUTER_API_KEY"),
        ("groq", "GROQ_API_KEY"),
        ("openai", "OPENAI_API_KEY"),
        ("xai", "XAI_API_KEY"),
        ("deepseek", "DEEPSEEK_API_KEY"),
        ("mistral", "MISTRAL_API_KEY"),
        ("google", "GOOGLE_API_KEY"),
    ],
)
def test_a_key_is_looked_for_when_the_model_is_made(
    vendor: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MissingKey, match=variable):
        model_for(f"{vendor}:m")
    monkeypatch.setenv(variable, " from-the-environment\n")

    model = model_for(f"{vendor}:m")

    assert key_of(model) == "from-the-environment"


def test_googles_new_variable_goes_before_its_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "old")
    old = model_for("google:m")
    monkeypatch.setenv("GOOGLE_API_KEY", "new")
    new = model_for("google:m")

    assert (key_of(old), key_of(new)) == ("old", "new")
    assert new.credentials == ApiKey(Secret("new"), "x-goog-api-key")


def test_a_missing_key_says_every_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "  ")

    with pytest.raises(MissingKey) as caught:
        model_for("groq:llama", api_key="")

    assert str(caught.value) == (
        "no key for groq: set GROQ_API_KEY, or give one with alloy.model('groq:llama', api_key=…); "
        "`alloy demo` needs none"
    )
    assert (caught.value.variable, caught.value.vendor, caught.value.model) == ("GROQ_API_KEY", "groq", "llama")
    assert caught.value.sent is False


def test_a_given_key_goes_before_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "theirs")

    model = model_for("groq:m", api_key="mine\n")

    assert key_of(model) == "mine"


@pytest.mark.parametrize("key", ["sk-very\nsecret", "sk-very\x00secret", "sk-verysecret-é"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ValueError, match="the key in api_key cannot be sent") as caught:
        model_for("groq:m", api_key=key)

    assert "secret-" not in str(caught.value)
    assert "very" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_key_does_not_show() -> None:
    model = model_for("groq:m", api_key="sk-very-secret", headers={"x-other-key": "very-secret-too"})

    assert "secret" not in repr(model)


# Base URLs.


@pytest.mark.parametrize(
    ("vendor", "given", "kept"),
    [
        ("anthropic", "https://proxy.example/", "https://proxy.example"),
        ("anthropic", "https://proxy.example/v1", "https://proxy.example"),
        ("anthropic", "https://proxy.example/v1/", "https://proxy.example"),
        ("anthropic", "https://proxy.example/v1/messages", "https://proxy.example"),
        ("anthropic", "https://proxy.example/anthropic/v1/messages/", "https://proxy.example/anthropic"),
        ("anthropic", "https://proxy.example/anthropic", "https://proxy.example/anthropic"),
        ("openai", "https://me.openai.azure.com/openai/v1/", "https://me.openai.azure.com/openai/v1"),
        ("openai", "https://me.openai.azure.com/openai/v1/responses", "https://me.openai.azure.com/openai/v1"),
        ("openai-compatible", "http://localhost:8000/v1", "http://localhost:8000/v1"),
        ("google", "https://g.example/v1", "https://g.example/v1"),
        ("google", "https://g.example/v1/models/", "https://g.example/v1"),
        ("ollama", "https://ollama.com/api", "https://ollama.com"),
        ("ollama", "http://localhost:11434/api/chat", "http://localhost:11434"),
        ("openai-compatible", " http://localhost:8000/v1// ", "http://localhost:8000/v1"),
        ("openai-compatible", "http://localhost:8000/v1/chat/completions", "http://localhost:8000/v1"),
        ("openai-compatible", "http://localhost:8000/v1/chat", "http://localhost:8000/v1"),
        ("openai-compatible", "https://api.deepseek.com", "https://api.deepseek.com"),
        ("openai-compatible", "http://[::1]:8000/v1", "http://[::1]:8000/v1"),
    ],
)
def test_a_base_url_is_taken_as_it_was_meant(vendor: str, given: str, kept: str) -> None:
    model = model_for(f"{vendor}:m", api_key="k", base_url=given)

    assert (model.base_url, model.origin.endpoint) == (kept, kept)


@pytest.mark.parametrize("given", ["localhost:8000", "ftp://host", "https://", "/v1", "https://host/#x"])
def test_what_is_no_base_url_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="base_url must be like"):
        model_for("groq:m", api_key="k", base_url=given)


AZURE = "https://me.openai.azure.com/openai"


@pytest.mark.parametrize(
    ("spec", "given", "url", "query"),
    [
        ("openai:d", f"{AZURE}/v1/", f"{AZURE}/v1", ""),
        ("openai:d", f"{AZURE}/v1?api-version=preview", f"{AZURE}/v1", "api-version=preview"),
        (
            "openai-compatible:d",
            f"{AZURE}/deployments/d/chat/completions?api-version=2024-10-21",
            f"{AZURE}/deployments/d",
            "api-version=2024-10-21",
        ),
    ],
)
def test_a_base_url_of_azure_keeps_its_version_and_gets_its_key_in_a_header_of_its_own(
    spec: str, given: str, url: str, query: str
) -> None:
    model = model_for(spec, api_key="k", base_url=given)

    assert (model.base_url, model.query, model.origin.endpoint) == (url, query, url)
    assert isinstance(model.credentials, ApiKey)
    assert model.credentials.auth == "api-key"


def test_a_query_of_a_base_url_is_not_shown() -> None:
    model = model_for("openai-compatible:m", base_url="https://host/v1?key=hunter2")

    assert "hunter2" not in repr(model)


def test_a_password_in_a_base_url_is_refused_and_not_shown() -> None:
    with pytest.raises(ValueError, match="must not hold a user or password") as caught:
        model_for("groq:m", api_key="k", base_url="https://me:hunter2@host/v1")

    assert "hunter2" not in str(caught.value)


def test_a_compatible_server_needs_a_base_url_and_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"openai-compatible needs a base URL.*OPENAI_COMPATIBLE_BASE_URL"):
        model_for("openai-compatible:m")
    monkeypatch.setenv("OPENAI_COMPATIBLE_BASE_URL", "http://localhost:1/v1/")

    keyless = model_for("openai-compatible:m")
    monkeypatch.setenv("OPENAI_COMPATIBLE_API_KEY", "k")
    with_key = model_for("openai-compatible:m", base_url="http://localhost:2/v1")

    assert (keyless.base_url, key_of(keyless)) == ("http://localhost:1/v1", None)
    assert with_key.base_url == "http://localhost:2/v1"
    assert key_of(with_key) == "k"


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("", "http://localhost:11434"),
        ("gpu", "http://gpu:11434"),
        ("0.0.0.0:8080", "http://0.0.0.0:8080"),
        (":8080", "http://localhost:8080"),
        ("[::1]", "http://[::1]:11434"),
        ("gpu/ollama", "http://gpu:11434/ollama"),
        ("https://gpu.example", "https://gpu.example"),
    ],
)
def test_ollamas_host_is_read_as_its_own_client_reads_it(given: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", given)

    model = model_for("ollama:qwen3:8b")

    assert (model.base_url, key_of(model), model.origin.model) == (url, None, "qwen3:8b")


# Profiles.


@pytest.mark.parametrize(
    ("spec", "thinking", "signed", "efforts"),
    [
        ("google:gemini-2.5-flash", "budget", False, ("none", "minimal", "low", "medium", "high")),
        ("google:gemini-2.5-pro", "budget", False, ("minimal", "low", "medium", "high")),
        ("google:gemini-3-flash-preview", "level", True, ("minimal", "low", "medium", "high")),
        ("google:gemini-3.1-pro-preview", "level", True, ("low", "medium", "high")),
        ("google:something-new", "level", True, ("minimal", "low", "medium", "high")),
    ],
)
def test_the_longest_beginning_of_a_models_name_decides_its_profile(
    spec: str, thinking: str, signed: bool, efforts: tuple[str, ...]
) -> None:
    profile = model_for(spec, api_key="k").profile

    assert (profile.thinking, profile.signed_calls, profile.known_efforts) == (thinking, signed, efforts)


def test_what_the_user_says_of_a_model_goes_before_what_its_name_says() -> None:
    profile = model_for("google:gemini-2.5-pro", api_key="k", thinking="level", known_efforts=["low"]).profile

    assert (profile.thinking, profile.known_efforts, profile.signed_calls) == ("level", ("low",), False)


def test_the_profile_of_a_vendor_can_be_overridden() -> None:
    model = model_for("groq:m", api_key="k", efforts=False, max_output_tokens=9)

    assert model.profile == Profile(max_tokens_field="max_completion_tokens", efforts=False, max_output_tokens=9)


@pytest.mark.parametrize(
    ("model", "efforts", "temperature"),
    [
        ("openai:gpt-4o-mini", (), "any"),
        ("openai:gpt-5-chat-latest", (), "any"),
        ("openai:o4-mini", ("low", "medium", "high"), None),
        ("openai:gpt-5", ("minimal", "low", "medium", "high"), None),
        ("openai:gpt-5-mini", ("minimal", "low", "medium", "high"), None),
        ("openai:gpt-5-pro", ("high",), None),
        ("openai:gpt-5.1-codex", EFFORTS, "default"),
        ("openai:gpt-5.4-pro", ("medium", "high", "xhigh"), None),
        ("openai:gpt-5.5", EFFORTS, "none"),
        ("openai:gpt-5.6-sol", ("none", "low", "medium", "high", "xhigh", "max"), "none"),
        ("openai:gpt-6-luna", ("none", "low", "medium", "high", "xhigh", "max"), "none"),
        ("openai:gpt-6.1-sol", ("low", "medium", "high", "xhigh", "max"), None),
        ("openai:ft:whatever", EFFORTS, "any"),
        ("codex:gpt-6-sol", ("none", "low", "medium", "high", "xhigh", "max"), None),
        ("xai:grok-4.3", ("none", "low", "medium", "high"), "any"),
        ("xai:grok-4.7", ("low", "medium", "high", "xhigh"), "any"),
        ("xai:grok-4.20-0309", (), "any"),
    ],
)
def test_a_model_by_responses_takes_its_efforts_and_a_temperature_only_with_some(
    model: str, efforts: tuple[str, ...], temperature: str | None
) -> None:
    profile = model_for(model, api_key="k").profile

    assert (profile.known_efforts if profile.efforts else ()) == efforts
    assert (profile.temperature_needs if profile.temperature else None) == temperature


@pytest.mark.parametrize(
    "model", ["openai:gpt-4.1", "openai:gpt-4o", "openai:gpt-3.5-turbo", "openai:gpt-5-chat-latest"]
)
def test_a_model_that_does_not_reason_is_not_asked_for_encrypted_reasoning(model: str) -> None:
    assert model_for(model, api_key="k").profile.encrypted_reasoning is False


def test_an_unknown_option_is_told_with_the_closest() -> None:
    with pytest.raises(TypeError, match=r"unknown profile option 'temprature'; known: .*did you mean 'temperature'\?"):
        model_for("groq:m", api_key="k", temprature=True)


@pytest.mark.parametrize(
    ("option", "error"),
    [
        ({"temperature": 1}, "temperature must be of type bool, got 1"),
        ({"max_output_tokens": "9"}, "max_output_tokens must be of type int, got '9'"),
        ({"known_efforts": ["much"]}, "known_efforts must be some of none, .*, got"),
        ({"context_window": "9"}, "context_window must be of type int, got '9'"),
        ({"system_role": "user"}, "system_role must be 'system' or 'developer', got 'user'"),
    ],
)
def test_an_option_of_the_wrong_kind_is_told(option: dict[str, object], error: str) -> None:
    with pytest.raises((TypeError, ValueError), match=error):
        model_for("groq:m", api_key="k", **option)


# The table.


def test_a_vendor_is_a_row_of_at_most_ten_lines() -> None:
    rows = inspect.getsource(vendors).split("        Vendor(\n")[1:]

    assert len(rows) == len(VENDORS)
    assert all(row.split("        ),\n")[0].count("\n") <= 9 for row in rows)


@pytest.mark.parametrize("vendor", VENDORS.values(), ids=VENDORS.keys())
def test_a_row_fits_its_dialect(vendor: vendors.Vendor) -> None:
    from alloy.llm import Request
    from alloy.testing.recorded import target_for

    wire = vendor.dialect.encode(Request(model="m", messages=()), target_for(vendor.dialect, profile=vendor.profile))

    assert wire.path == vendor.path.format(model="m")
    assert vendor.base_url is None or read_base_url(vendor.base_url, vendor.path).url == vendor.base_url
