"""MASKING: secrets leave captured text, and what is no secret stays."""

from __future__ import annotations

import time

import pytest

import promptry

SECRETS = [
    # (kind, secret)
    ("key", "sk-" + "abcdEFGH1234" * 4),
    ("key", "sk-proj-" + "abcd_EFGH-1234" * 4),
    ("key", "sk-ant-api03-" + "aB3_" * 20),
    ("key", "sk-or-v1-" + "0123456789abcdef" * 4),
    ("key", "AKIA" + "ABCDEFGH12345678"),
    ("key", "ASIA" + "ABCDEFGH12345678"),
    ("key", "AIza" + "Sy" + "a1B2c" * 6 + "xyz"),
    ("key", "gsk_" + "a1B2" * 12),
    ("key", "hf_" + "aBcD" * 8),
    ("key", "xai-" + "aBcD" * 10),
    ("key", "r8_" + "aBcD" * 9),
    ("key", "pplx-" + "aBcD" * 12),
    ("token", "ghp_" + "aB3d" * 9),
    ("token", "github_pat_" + "aB3d_" * 12),
    ("token", "glpat-" + "aB3d" * 5),
    ("token", "xoxb-" + "123456789012-" * 2 + "abcdef"),
    ("token", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"),
    ("e-mail", "ada.lovelace+test@mail.example.co.uk"),
    ("card", "4111 1111 1111 1111"),
    ("card", "4111-1111-1111-1111"),
    ("card", "378282246310005"),
]


@pytest.mark.parametrize(("kind", "secret"), SECRETS)
@pytest.mark.parametrize("text", ["{}", "use {} now", '{{"key": "{}"}}', "a\n{}\nb", "({}),"])
def test_a_secret_is_taken_out_whole(kind: str, secret: str, text: str) -> None:
    masked = promptry.mask_secrets(text.format(secret))
    assert masked == text.format(f"[{kind} removed]")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgres://ada:s3cret@db.example:5432/app", "postgres://[connection removed]@db.example:5432/app"),
        ("redis://:s3cret@cache:6379", "redis://[connection removed]@cache:6379"),
        ("https://user:p%40ss@host/x?y=1", "https://[connection removed]@host/x?y=1"),
        ("Authorization: Bearer abc.DEF-123_456~789+/=", "Authorization: Bearer [token removed]"),
        ("authorization: bearer abcdefghijklmnop1234", "authorization: bearer [token removed]"),
        ("password=hunter2&next=1", "password=[password removed]&next=1"),
        ("PASSWORD=hunter2;", "PASSWORD=[password removed];"),
        ('{"password": "hunter2"}', '{"password": "[password removed]"}'),
        ('{"password":"x"}', '{"password":"[password removed]"}'),
        ("{'password': 'x'}", "{'password': '[password removed]'}"),
        ('{"api_key": "abc"}', '{"api_key": "[password removed]"}'),
        ('AWS_SECRET_ACCESS_KEY="abc/def"', 'AWS_SECRET_ACCESS_KEY="[password removed]"'),
        ("client_secret=abc&x=1", "client_secret=[password removed]&x=1"),
        ("pwd=abc", "pwd=[password removed]"),
        ("the password is not here: ask", "the password is not here: ask"),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", None),
        ("api_key=0123456789abcdef0123456789abcdef", None),
    ],
)
def test_what_stands_around_a_secret_stays(text: str, masked: str | None) -> None:
    found = promptry.mask_secrets(text)
    if masked is None:
        assert "removed]" in found and text.split("=")[-1].strip() not in found
    else:
        assert found == masked


@pytest.mark.parametrize("end", ["-----END RSA PRIVATE KEY-----", "", "-----END PRIV"])
def test_a_private_key_goes_although_it_is_cut_off(end: str) -> None:
    text = f"before -----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nabc\n{end}"
    assert promptry.mask_secrets(text) == "before [private key removed]"


KEPT = [
    "",
    "The quick brown fox",
    "task-based, risk-averse, disk-1234567890123456",
    "4111 1111 1111 1112",
    "1234567890123456",
    "order 20261123120000001",
    "call +1 555 0100 now",
    "pi is 3.14159265358979",
    "https://example.com/a:b@c",
    "user@localhost",
    "a @ b . c",
    "sk-short",
    "def f(x): return x @ y",
    "2026-11-23T12:00:00.000Z",
    "sha256 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
    "uuid 123e4567-e89b-12d3-a456-426614174000",
]


@pytest.mark.parametrize("text", KEPT)
def test_what_is_no_secret_stays_as_it_is(text: str) -> None:
    assert promptry.mask_secrets(text) == text


def test_several_secrets_go_and_nothing_of_them_is_left() -> None:
    text = " ".join(secret for _, secret in SECRETS)
    masked = promptry.mask_secrets(text)
    assert masked == " ".join(f"[{kind} removed]" for kind, _ in SECRETS)


def test_masking_twice_changes_nothing_more() -> None:
    once = promptry.mask_secrets(" ".join(secret for _, secret in SECRETS) + " password=x postgres://a:b@c")
    assert promptry.mask_secrets(once) == once


HOSTILE = {
    "digits": "1" * 200_000,
    "digits and blanks": "1 " * 100_000,
    "ats": "a@" * 100_000,
    "dots": "a." * 100_000 + "@",
    "mail without end": "a" * 64 + "@" + "b." * 50_000,
    "keys": "sk-" * 60_000,
    "tokens": "eyJ" + "a" * 100_000,
    "dotted tokens": "eyJaaaaaaaa." * 15_000,
    "private keys": "-----BEGIN PRIVATE KEY-----" * 5_000,
    "begins": "-----BEGIN " * 20_000,
    "urls": "://a:" * 40_000,
    "long credentials": "://" + "a" * 100_000 + ":" + "b" * 100_000,
    "bearer": "bearer " * 30_000,
    "passwords": "password=" * 20_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_masked_in_time_that_grows_with_its_length(name: str) -> None:
    began = time.perf_counter()
    promptry.mask_secrets(HOSTILE[name])
    assert time.perf_counter() - began < 2.0
