"""TRUST: which authorities vouch for an address; test_endpoints.py has the servers that they vouch for."""

from __future__ import annotations

import ssl
import sys
from pathlib import Path

import pytest

import promptry


def test_a_file_of_authorities_that_is_not_there_is_told() -> None:
    with pytest.raises(promptry.ConfigError, match="SSL_CERT_FILE is /nowhere/roots.pem, and there is no such file"):
        promptry.trust_of("/nowhere/roots.pem", None)


def test_where_this_python_has_no_authorities_a_known_file_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    paths = ssl.DefaultVerifyPaths(None, None, "SSL_CERT_FILE", "/x", "SSL_CERT_DIR", "/x")
    empty = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    loaded: list[str] = []
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", lambda self, file: loaded.append(file))
    monkeypatch.setattr(ssl, "create_default_context", lambda: empty)
    known = tmp_path / "roots.pem"
    known.write_text("")
    monkeypatch.setattr(promptry, "_ROOTS", ("/nowhere", str(known)))
    promptry.trust_of.cache_clear()
    promptry.trust_of(None, None)
    assert loaded == [str(known)]
    monkeypatch.setattr(promptry, "_ROOTS", ())
    monkeypatch.setitem(sys.modules, "certifi", type("certifi", (), {"where": lambda: "/certifi.pem"}))
    promptry.trust_of.cache_clear()
    promptry.trust_of(None, None)
    assert loaded[1:] == ["/certifi.pem"]
    promptry.trust_of.cache_clear()
