"""Secrets are recognised by what they are called."""

from __future__ import annotations

from typing import Any

import pytest

from crystallize.utils.masking import masked, masked_command

SECRET = [
    "password",
    "db_password",
    "token",
    "api_key",
    "apiKey",
    "API-KEY",
    "HF_TOKEN",
    "auth",
    "SECRET_KEY",
    "accessToken",
    "dbPassword",
    "HFToken",
    "AWSSecretKey",
    "signing_key",
    "privateKey",
    "encryption-key",
    "CRYSTALLIZE_CACHE_KEY",
]
PUBLIC = [
    "tokens",
    "tokenizer",
    "key",
    "keys",
    "path",
    "author",
    "passes",
    "max_tokens",
    "secretary",
    "monkey",
    "maxTokens",
    "n_tokens",
    "primary_key",
    "sortKey",
    "key_0",
    "keyTokens",
    "tokenizerName",
    "cached_keys",
    "cache_key",
    "pad_token",
    "tokenizer_eos-token",
    "maskToken",
    "pad_token_id",
]


@pytest.mark.parametrize("name", SECRET)
def test_a_text_that_is_called_a_secret_is_masked(name: str) -> None:
    assert masked(name, "hunter2") == "***"
    assert masked("login", {name: ["hunter2"], "user": "me"}) == {name: ["***"], "user": "me"}


@pytest.mark.parametrize("name", PUBLIC)
def test_a_text_that_is_called_otherwise_is_not(name: str) -> None:
    assert masked(name, "hunter2") == "hunter2"


@pytest.mark.parametrize("value", [512, 0.5, None, True, "", len])
def test_what_is_no_text_is_no_secret(value: Any) -> None:
    assert masked("token", value) == value


def test_the_password_in_an_address_is_masked() -> None:
    assert masked("db", "postgresql://me:hunter2@host:5432/db") == "postgresql://me:***@host:5432/db"
    assert masked("db", "https://host/a:b@c") == "https://host/a:b@c"


def test_what_stands_inside_of_itself_is_looked_through_only_so_far() -> None:
    value: dict[str, Any] = {"token": "hunter2"}
    value["itself"] = value
    assert masked("", value)["itself"]["token"] == "***"


COMMANDS = {
    "--token hunter2 --size 3": "--token *** --size 3",
    "--token=hunter2 run": "--token=*** run",
    "--set api_key=hunter2 --set lr=0.1": "--set api_key=*** --set lr=0.1",
    "--token --verbose": "--token --verbose",
    "https://me:hunter2@host": "https://me:***@host",
    "run token": "run token",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_secrets_of_a_command_line_are_masked(command: str) -> None:
    assert masked_command(command.split()) == COMMANDS[command].split()
