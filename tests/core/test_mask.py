"""Secrets and hostile text: masked by name and by look, cut, escaped, and never slowly."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from douane.core.mask import MASK, is_secret_name, mask_arguments, mask_target, mask_text, printable

SECRETS = [
    "sk-CANARYbody0123456789abcdefghijklmnopqrstuv",
    "sk-ant-api03-abcdefghijklmnop",
    "sk_live_CANARYform0123456789abcd",
    "rk_test_51abcdefghijklmnop",
    "whsec_abcdefghijklmnopqrstuvwx",
    "pi_3Mtw_secret_YrKJUKribcBjcG8HVhfZluoGH",
    "ghp_CANARYheader0123456789abcdefghijklmn",
    "github_pat_11ABCDEFG0abcdefghijklmnop_xyz",
    "glpat-abcdefghij0123456789",
    "xoxb-1234567890-abcdefghij",
    "AIzaCANARYurl0123456789abcdefghijklmnopq",
    "AKIAIOSFODNN7EXAMPLE",
    "ya29.a0AfH6SMBabcdefghijklmnop",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcDEF123",
    "npm_abcdefghijklmnopqrstuvwxyz0123456789",
    "hf_abcdefghijklmnopqrstuvwx",
    "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw",
    "SG.abcdefghijklmnop.abcdefghijklmnopqrstuv",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEow==\n-----END RSA PRIVATE KEY-----",
    "dG9rZW46c3VwZXJTZWNyZXQx0aB9zQ8xW7vU6tS5",
    "4242 4242 4242 4242",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("around", ["{}", "see {} there", '{{"a": "{}"}}', "x={}&y=1", "({})", "https://h/{}/x"])
def test_credentials_are_known_by_their_look(secret: str, around: str) -> None:
    shown = mask_text(around.format(secret))
    assert secret not in shown
    assert secret[-16:-5] not in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abcdefghijk", f"Authorization: Bearer {MASK}"),
        ("basic dXNlcjpwYXNz", f"basic {MASK}"),
        ("password = hunter22 then", f"password = {MASK} then"),
        ("DB_PASSWORD=hunter22", f"DB_PASSWORD={MASK}"),
        ("'clientSecret': 'abcd efgh'", f"'clientSecret': {MASK}"),
        ("https://rita:hunter22@db/x", f"https://{MASK}@db/x"),
        ("postgres://u:p@h", f"postgres://{MASK}@h"),
        ("the password is hunter22, the token is expired", f"the password is {MASK} the token is expired"),
    ],
)
def test_and_by_the_name_before_them(text: str, shown: str) -> None:
    assert mask_text(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "0123456789abcdef0123456789abcdef01234567",
        "550e8400-e29b-41d4-a716-446655440000",
        "src/Components/FooBar2/BazQuxLongComponentName.ts",
        "gpt-4.1-mini-2025-04-14",
        "feature/ABC-123-some-long-branch-name-of-somebody",
        "a token of my appreciation",
        "max_tokens: 1000000",
        "1234567890123456",
        "The quick brown fox: jumps over the lazy dog.",
    ],
)
def test_plain_texts_stay(text: str) -> None:
    assert mask_text(text) == text


@pytest.mark.parametrize(
    "name",
    [
        "key",
        "api_key",
        "apiKey",
        "X-API-Key",
        "token",
        "access_token",
        "accessToken",
        "client_secret",
        "clientSecret",
        "password",
        "newPassword",
        "Authorization",
        "sig",
        "signature",
        "X-Amz-Signature",
        "X-Amz-Security-Token",
        "X-Amz-Credential",
        "X-Goog-Credential",
        "cookie",
        "Set-Cookie",
        "sessionid",
        "cvc",
        "card[cvc]",
        "card[number]",
        "bank_account[account_number]",
        "external_account[iban]",
        "private_key",
        "SSHPrivateKey",
        "refresh-token",
        "jwt",
        "webhook_secret",
        "secret.nested.member",
        "credentials[0]",
        "encrypted_value",
        "db_password",
        "AWSSecretKey",
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "max_tokens",
        "maxOutputTokens",
        "key_id",
        "idempotency_key",
        "prompt_cache_key",
        "author",
        "authors",
        "tokens",
        "name",
        "owner",
        "issue_number",
        "pull_number",
        "number",
        "token_type",
        "secret_name",
        "monkey",
        "keyboard",
        "amount",
        "currency",
        "description",
        "ref",
        "sha",
        "repo",
        "private",
        "public_key",
        "budget_tokens",
        "design",
    ],
)
def test_names_of_nothing_secret(name: str) -> None:
    assert not is_secret_name(name)


def test_members_are_masked_at_any_depth() -> None:
    masked = mask_arguments(
        {
            "name": "x",
            "token": "plain",
            "amount": 100,
            "pin": 1234,
            "private": True,
            "nothing": None,
            "nested": {"client_secret": "abc", "list": [{"password": "abc"}, "ghp_CANARYheader0123456789"]},
            "secrets": {"a": "abc", "b": ["abc"]},
            "card": {"number": "4242424242424242", "brand": "visa"},
            "passwords": ["hunter22"],
            "pass_rate": 3,
            "pairs": [{"name": "password", "value": "hunter22"}, {"name": "color", "value": "red"}],
            "with-sk-abcdefghijklmnop": 1,
        }
    )
    assert masked == {
        "name": "x",
        "token": MASK,
        "amount": 100,
        "pin": MASK,
        "private": True,
        "nothing": None,
        "nested": {"client_secret": MASK, "list": [{"password": MASK}, MASK]},
        "secrets": {"a": MASK, "b": [MASK]},
        "card": {"number": MASK, "brand": "visa"},
        "passwords": [MASK],
        "pass_rate": 3,
        "pairs": [{"name": "password", "value": MASK}, {"name": "color", "value": "red"}],
        f"with-{MASK}": 1,
    }


def test_long_values_are_cut_with_their_length_said() -> None:
    shown = mask_arguments({"a": "x y " * 5000, "b": list(range(500))})
    assert shown["a"].endswith("… (20000 characters)")
    assert len(shown["a"]) < 2100
    assert shown["b"][-1] == "… 400 more"


def test_a_secret_on_the_edge_of_the_cut_does_not_show() -> None:
    secret = "ghp_CANARYheader0123456789abcdefghijklmn"
    for length in range(1940, 2020):
        shown = str(mask_arguments({"a": "y " * (length // 2) + secret + " z" * 3000}))
        assert "CANARY" not in shown
    for length in range(3940, 4020):
        shown = str(mask_arguments({"a": "y " * (length // 2) + secret + " z" * 3000}))
        assert "CANARY" not in shown


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(SECRETS),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


@given(st.dictionaries(st.text(), values))
def test_any_arguments_become_json_of_at_most_16_kb_and_no_secret_is_in_them(arguments: dict[str, Any]) -> None:
    text = orjson.dumps(mask_arguments(arguments))
    assert len(text) <= 16 * 1024
    assert not any(secret.encode() in text for secret in SECRETS)


HOSTILE: list[dict[str, Any]] = [
    {f"k{n}": ['\n"' * 500] * 100 for n in range(100)},
    {f"k{n}": ["\x01" * 5000] * 100 for n in range(100)},
    {f"{n}\x01" * 100: "\ud800" * 100 for n in range(100)},
    {f"k{n}": [SECRETS[n % 20] * 100] * 100 for n in range(100)},
    {"a": [[[["x"] * 100] * 100] * 100] * 100},
    {"a": 10**4000, "b": float("inf"), "c": float("nan"), "d": 2**60, "e": object(), "f": b"x"},
]


@pytest.mark.parametrize("arguments", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_arguments_are_neither_large_nor_slow(arguments: dict[str, Any]) -> None:
    started = time.process_time()
    assert len(orjson.dumps(mask_arguments(arguments))) <= 16 * 1024
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "a-",
        "1 ",
        "A1a",
        "eyJ",
        "sk_",
        "_secret_",
        "Bearer ",
        "x: ",
        '"a":"',
        "://a:",
        "-----BEGIN PRIVATE KEY-----",
        "T/B/",
        ".",
    ],
)
def test_no_text_takes_long(piece: str) -> None:
    started = time.process_time()
    mask_text(piece * (100_000 // len(piece)))
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        (b"/repos/acme/site?page=2", "/repos/acme/site?page=2"),
        (b"/v1beta/models/g:generateContent?key=AIzaSyabc", f"/v1beta/models/g:generateContent?key={MASK}"),
        (b"/x?%6Bey=abc&b=1", f"/x?%6Bey={MASK}&b=1"),
        (b"/bot110201543:AAHdqTcvCH1vGWJx/getMe", f"/bot{MASK}/getMe"),
        (b"/services/T00000000/B00000000/abcdefghijklmnopqrstuvwx", f"/services/{MASK}"),
        (b"/api/webhooks/123456789012/abcdefghijklmnopqrstuvwx", f"/api/webhooks/{MASK}"),
        (
            b"/b/k?X-Amz-Credential=AKIA&X-Amz-Date=2&X-Amz-Signature=a",
            f"/b/k?X-Amz-Credential={MASK}&X-Amz-Date=2&X-Amz-Signature={MASK}",
        ),
        (b"/c?sv=2&sig=abc%2F", f"/c?sv=2&sig={MASK}"),
        (b"/c?q=password%3Dhunter22&pass=x", f"/c?q=password={MASK}&pass={MASK}"),
        (b"/c?code=de&code=4/0AbCdEfGhIjKlMnOp", f"/c?code=de&code={MASK}"),
        (b"/trigger/x/with/key/d8fk3HsQ", f"/trigger/x/with/key/{MASK}"),
        (b"/hooks/" + b"0a" * 32, f"/hooks/{MASK}"),
        (b"/manifests/sha256:" + b"0a" * 32, "/manifests/sha256:" + "0a" * 32),
        (b"/a/sk%2Dabcdefghijklmnop", f"/a/{MASK}"),
        (b"/a%0A%1b[31mb?c=%E2%80%AEd", "/a%0A%1b[31mb?c=%E2%80%AEd"),
    ],
)
def test_targets_for_people(target: bytes, shown: str) -> None:
    assert mask_target(target) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, even é and 漢字", "plain text, even é and 漢字"),
        ("a\nb\x1b[31m", "a\\u{a}b\\u{1b}[31m"),
        ("abc\u202etxt.exe", "abc\\u{202e}txt.exe"),
        ("a\u200bb\u00a0c\u2028d", "a\\u{200b}b\\u{a0}c\\u{2028}d"),
        ("\ud800", "\\u{d800}"),
        ("a\u3164b\u115fc\uffa0d\u2800e\u034ff", "a\\u{3164}b\\u{115f}c\\u{ffa0}d\\u{2800}e\\u{34f}f"),
    ],
)
def test_what_could_forge_a_card_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(text).encode()


RANDOM_ID = "1BxiMVs0XRA5nFMdKvBdBZjgmUUqptlbs"


@pytest.mark.parametrize(
    ("provider", "name", "value", "shown"),
    [
        ("aws", "Key", "2026/customers.sql.gz", "2026/customers.sql.gz"),
        ("aws", "Key", "dumps/sk-abcdefghijklmnop", f"dumps/{MASK}"),
        ("aws", "Key", f"uploads/{RANDOM_ID}", f"uploads/{MASK}"),
        ("google", "fileId", RANDOM_ID, RANDOM_ID),
        ("google", "fileId", "AIzaCANARYurl0123456789abcdefghijklmnopq", MASK),
        ("launchdarkly", "featureFlagKey", "new-checkout", "new-checkout"),
        ("jira", "issueIdOrKey", "PAY-7", "PAY-7"),
        ("stripe", "session", "cs_1abc", "cs_1abc"),
        ("stripe", "authorization", "iauth_1abc", "iauth_1abc"),
        ("okta", "tokenId", "00Tabc", "00Tabc"),
        ("cloudflare", "webhook_id", "b115d5ec", "b115d5ec"),
        ("discord", "key", "abcdefghijkl", MASK),
        ("azure", "key", "plain-looking", MASK),
        ("linode", "token", "plain-looking", MASK),
        ("mist", "secret", "plain-looking", MASK),
        ("nexmo", "api_key", "abcd1234", MASK),
        ("hubspot", "accessKey", "abcd1234", MASK),
        (None, "Key", "abcd1234", MASK),
    ],
)
def test_a_path_names_its_resource_unless_it_is_a_secret(
    provider: str | None, name: str, value: str, shown: str
) -> None:
    assert mask_arguments({name: value, "x": 1}, provider, (name,)) == {name: shown, "x": 1}
    masked = mask_arguments({name: value, "x": 1}, provider)[name]
    assert masked == MASK or not is_secret_name(name), "of the query or the body it is masked as ever"


def test_the_names_of_the_path_keep_their_room() -> None:
    shown = mask_arguments({"a": ["x" * 2000] * 50, "Key": "x.gz"}, "aws", ("Key",))
    assert shown["Key"] == "x.gz"
    assert len(orjson.dumps(mask_arguments({"a": ["x" * 2000] * 50, "Key": "ab " * 9000}, "aws", ("Key",)))) <= 16_384
