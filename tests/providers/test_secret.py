"""Keys do not show."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from alloy.providers.secret import Secret, redact, redact_error

KEY = "sk-Ab+cd/12345="


def test_only_reveal_gives_a_secret_away() -> None:
    secret = Secret(KEY)

    assert secret.reveal() == KEY
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret!s:>40}", f"{secret!r}", repr([secret])):
        assert KEY not in shown


def test_secrets_are_equal_by_value() -> None:
    assert Secret(KEY) == Secret(KEY)
    assert hash(Secret(KEY)) == hash(Secret(KEY))
    assert Secret(KEY) != Secret("another")
    assert Secret(KEY) != KEY


@pytest.mark.parametrize("leak", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_secret_is_neither_pickled_nor_copied(leak: object) -> None:
    assert callable(leak)
    with pytest.raises(TypeError, match="cannot be pickled"):
        leak(Secret(KEY))


@pytest.mark.parametrize("value", ["", " sk-1", "sk-1\n", "sk-\n1", "sk-…", "sk-\x00"])
def test_what_no_header_can_carry_is_no_secret_and_does_not_show_either(value: str) -> None:
    with pytest.raises(ValueError, match="secret") as caught:
        Secret(value)

    assert "sk-" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        (f"wrong key {KEY}.", "wrong key [secret]."),
        (f"{KEY}{KEY}", "[secret][secret]"),
        (f"authorization: Bearer {KEY}", "authorization: [secret]"),
        ("GET /?key=sk-Ab%2Bcd%2F12345%3D", "GET /?key=[secret]"),
        ("nothing to hide: sk-Ab", "nothing to hide: sk-Ab"),
        ("", ""),
    ],
)
def test_a_secret_is_taken_out_of_a_text_in_each_of_its_forms(text: str, redacted: str) -> None:
    assert redact(text, [Secret(KEY)]) == redacted


def test_a_secret_inside_another_leaves_nothing_of_the_longer_one() -> None:
    assert redact("sk-1234-5678", [Secret("sk-1234"), Secret("sk-1234-5678")]) == "[secret]"


def test_a_stand_in_of_three_letters_stays() -> None:
    assert redact("the max of x", [Secret("x"), Secret("max")]) == "the max of x"


class Failed(Exception):
    """An error with an attribute."""

    def __init__(self, message: str, body: str) -> None:
        super().__init__(message)
        self.body = body


def test_an_error_keeps_no_secret_in_its_message_its_attributes_or_its_causes() -> None:
    try:
        try:
            json.loads(f'{{"key": "{KEY}"')
        except ValueError as error:
            raise Failed(f"cannot read {KEY}", f"body {KEY}") from error
    except Failed as error:
        caught = error

    redact_error(caught, [Secret(KEY)])

    assert (str(caught), caught.body) == ("cannot read [secret]", "body [secret]")
    assert caught.__cause__ is None
    assert caught.__context__ is None


def test_an_error_without_a_secret_stays_as_it_is() -> None:
    cause = ValueError("why")
    error = Failed("what", "body")
    error.__cause__ = cause

    redact_error(error, [Secret(KEY)])

    assert (str(error), error.body, error.__cause__) == ("what", "body", cause)
