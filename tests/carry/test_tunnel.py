"""The tunnel's own parts: PAC files, addresses to listen on, the command line behind --exec."""

import socket
from pathlib import Path

import pytest

from isthmus.carry.ssh.address import Address
from isthmus.carry.ssh.link import Options
from isthmus.carry.ssh.tunnel import open_tunnel, pac, parse_listen
from isthmus.cli.main import run
from isthmus.errors import UnreachableError, UsageError


def test_a_pac_file_names_domains_and_the_proxy() -> None:
    text = pac(["Site.Internal.", "other.example"], "127.0.0.1", 1080)
    assert 'host === "site.internal" || dnsDomainIs(host, ".site.internal")' in text
    assert text.count("dnsDomainIs") == 2
    assert "SOCKS5 127.0.0.1:1080" in text
    assert text == pac(["other.example", "site.internal"], "127.0.0.1", 1080)
    for wrong in ('a"; evil()', "", "a b", "ü.example"):
        with pytest.raises(UsageError):
            pac([wrong], "127.0.0.1", 1080)


def test_addresses_to_listen_on() -> None:
    assert parse_listen("127.0.0.1:1080") == ("127.0.0.1", 1080)
    assert parse_listen("[::1]:0") == ("::1", 0)
    assert parse_listen("1080") == ("127.0.0.1", 1080)
    for wrong in ("", "a:", "a:99999", "-x:1", "a:²"):
        with pytest.raises(UsageError):
            parse_listen(wrong)


def test_a_port_in_use_is_not_taken_for_the_tunnel() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as sock,
        pytest.raises(UnreachableError) as caught,
        open_tunnel(Address("ssh", "", "gate", 0, ""), Options(), ("127.0.0.1", sock.getsockname()[1])),
    ):
        pass
    assert caught.value.code == "cannot-listen"


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tunnel", "ssh://gate", "--exec"]) == 2
    assert "needs a command" in capsys.readouterr().err
    assert run(["tunnel", "ssh://gate", "--pac", str(tmp_path / "p.pac"), "--workspace", str(tmp_path)]) == 2
    assert "which domain" in capsys.readouterr().err
    assert run(["tunnel", "http://gate"]) == 2
