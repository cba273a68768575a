"""TLS: who is trusted, and that it ends as cleanly as plain connections."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from alloy.llm.errors import ConnectFailed, StreamTruncated
from alloy.providers.http import HTTP, tls_context
from providers.exchange import BODY, ask, held, ok
from providers.loopback import Exchange, chunks, replies, serve


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and its own certificate for this machine, in one file."""
    if (openssl := shutil.which("openssl")) is None:
        pytest.skip("no openssl to make a certificate with")
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "-"]
    signed = ["-x509", "-days", "2", "-subj", "/CN=alloy", "-addext", names, "-out", "-"]
    made = subprocess.run([openssl, "req", *key, *signed], check=True, capture_output=True)
    path.write_bytes(made.stdout)
    return path


@pytest.fixture
def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


async def test_a_context_of_ones_own_is_used(certificate: Path, server_tls: ssl.SSLContext) -> None:
    trusting = ssl.create_default_context(cafile=certificate)
    trusting.set_alpn_protocols(["h2"])

    async with serve(chunks(b"1", b"2"), tls=server_tls) as server, HTTP(verify=trusting) as http:
        assert [await ask(http, server.url) for _ in range(3)] == [b"12"] * 3
        assert server.opened == 1
        await http.__aexit__(None, None, None)
        await server.wait_open(0)


async def test_a_certificate_that_nobody_vouches_for_is_a_failure_to_connect(server_tls: ssl.SSLContext) -> None:
    async with serve(ok, tls=server_tls) as server, HTTP() as http:
        with pytest.raises(ConnectFailed, match="certificate verify failed") as caught:
            await ask(http, server.url)

    assert not caught.value.sent


async def test_verification_can_be_turned_off(server_tls: ssl.SSLContext) -> None:
    async with serve(ok, tls=server_tls) as server, HTTP(verify=False) as http:
        assert await ask(http, server.url) == b"ok"


async def test_a_server_without_tls_is_a_failure_to_connect() -> None:
    async with serve(ok) as server, HTTP(verify=False) as http:
        with pytest.raises(ConnectFailed):
            await ask(http, server.url.replace("http:", "https:"))


async def test_a_cut_or_left_stream_over_tls_comes_to_a_clean_end(server_tls: ssl.SSLContext) -> None:
    async def endless(exchange: Exchange) -> None:
        await exchange.start()
        await exchange.send(b"1")
        await exchange.hang()

    async def cut(exchange: Exchange) -> None:
        await exchange.start()
        await exchange.send(b"1")

    async with serve(replies(endless, cut), tls=server_tls) as server:
        before = await held()
        async with HTTP(verify=False) as http:
            async with await http.post(server.url, {}, BODY) as response:
                await response.receive_some()
            with pytest.raises(StreamTruncated):
                await ask(http, server.url)
            await server.wait_open(0)
            assert await held() == before


def test_a_process_has_one_tls_context() -> None:
    assert tls_context(True) is tls_context(True)
    assert tls_context(True).verify_mode is ssl.CERT_REQUIRED
    assert tls_context(False).verify_mode is ssl.CERT_NONE
