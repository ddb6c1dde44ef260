"""What needs no server: addresses, complaints, commands for the far side, the pace, hostile answers."""

import os
import stat
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.bundle.medium import open_regular
from isthmus.carry.ssh.address import Address, parse_address
from isthmus.carry.ssh.afterwards import steps
from isthmus.carry.ssh.failures import failure, has_no_shell
from isthmus.carry.ssh.link import Link, Options, remove_left_behind
from isthmus.carry.ssh.local_files import list_files
from isthmus.carry.ssh.pace import Pace
from isthmus.carry.ssh.sftp import Sftp
from isthmus.carry.ssh.sftp_far import SftpFar
from isthmus.carry.ssh.shell import NoShellError, Shell
from isthmus.errors import IsthmusError, UnreachableError, UsageError


def test_addresses() -> None:
    assert parse_address("ssh://me@gate.example:2222/srv/in") == Address(
        "ssh", "me", "gate.example", 2222, "/srv/in"
    )
    assert parse_address("sftp://[fd00::1]/srv/a%20b") == Address("sftp", "", "fd00::1", 0, "/srv/a b")
    assert parse_address("ssh://gate/~/in").directory == "./in"
    assert parse_address("ssh://gate", needs_directory=False).words == ["--", "gate"]


@pytest.mark.parametrize(
    "url",
    [
        "ssh://", "ssh://gate", "ssh://gate/", "gate:/srv", "http://gate/srv", "ssh://-oProxyCommand=x/srv",
        "ssh://me:secret@gate/srv", "ssh://gate/a%0ab", "ssh://gate/srv?x=1", "ssh://gate:99999/srv",
        "ssh://-x@gate/srv", "ssh://a b/srv", "ssh://[::1/srv",
    ],
)  # fmt: skip
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_address(url)
    assert "secret" not in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_an_error_of_ours(text: str) -> None:
    for url in (text, f"ssh://{text}", f"ssh://gate/{text}"):
        try:
            words = parse_address(url).words
        except UsageError:
            continue
        assert words[-2] == "--"
        assert not words[-1].startswith("-")


@pytest.mark.parametrize(
    ("complaint", "status", "code"),
    [
        ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.", 255, "refused"),
        ("me@gate: Permission denied (publickey).", 255, "unauthorized"),
        ("ssh: connect to host gate port 22: No route to host", 255, "unreachable"),
        ("ssh: Could not resolve hostname gate: Name or service not known", 255, "unreachable"),
        ("Timeout, server gate not responding.", 255, "unreachable"),
        ("cat: write error: No space left on device", 1, "io-failed"),
        ("sh: 1: cannot create /srv/a.part: Permission denied", 2, "io-failed"),
        ("bind [127.0.0.1]:1080: Address already in use", 255, "cannot-listen"),
        ("\x1b[2Jstrange", 7, "refused"),
        ("", 255, "unreachable"),
    ],
)
def test_complaints(complaint: str, status: int, code: str) -> None:
    error = failure(complaint, "ssh://gate", status)
    assert error.code == code
    assert error.status == 5
    assert "\x1b" not in error.message


def test_a_server_without_a_shell_is_known() -> None:
    assert has_no_shell("This service allows sftp connections only.\n")
    assert not has_no_shell("sh: not found")


def test_commands_for_the_far_side() -> None:
    made = steps(["unpack:/srv/s; x", "push:reg.site:5000/a"], "/srv/in", key="/etc/a.pub")
    assert made[0].words == (
        "isthmus", "unpack", "/srv/in", "--store", "/srv/s; x", "--key", "/etc/a.pub",
    )  # fmt: skip
    assert made[1].words == ("isthmus", "push", "--store", "/srv/s; x", "--to", "reg.site:5000/a")
    for wrong in ("push", "push:-x y", "serve", "push:a;b", "unpack:\n"):
        with pytest.raises(UsageError):
            steps([wrong], "/srv/in")


def test_files_to_send(tmp_path: Path) -> None:
    (tmp_path / "b" / "tool").mkdir(parents=True)
    for name in ("a.isv", ".a.isv.partial", "c.part", "tool/w.whl", ".hidden"):
        (tmp_path / "b" / name).write_bytes(b"12")
    (tmp_path / "site.receipt").write_bytes(b"")
    found = list_files([tmp_path / "b", tmp_path / "site.receipt", tmp_path / "b" / "a.isv"])
    assert [(one.name, one.size) for one in found] == [("a.isv", 2), ("tool/w.whl", 2), ("site.receipt", 0)]
    (tmp_path / "a.isv").write_bytes(b"other")
    with pytest.raises(UsageError, match="two files"):
        list_files([tmp_path / "b", tmp_path / "a.isv"])
    (tmp_path / "b" / "x\ny").touch()
    with pytest.raises(UsageError, match="control"):
        list_files([tmp_path / "b"])
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError):
        list_files([tmp_path / "pipe"])


def test_the_pace_is_kept_over_threads() -> None:
    pace = Pace(1_000_000)
    assert pace.piece(10**6) == 50_000
    started = time.monotonic()
    for _ in range(20):
        pace.wait(20_000)
    assert 0.3 < time.monotonic() - started < 1.5
    Pace().wait(10**12)


@pytest.fixture
def fake_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in ssh's place that runs the far shell here: the shell code itself is the real one."""
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        'while [ "$1" != -- ]; do case $1 in -S) s=$2; shift 2;; -M) m=1; shift;; *) shift;; esac; done\n'
        'shift 2; if [ "$m" ]; then : >"$s"; exec cat >/dev/null; fi\n'
        '[ "$1" = sftp ] && { cat "$ANSWER"; exec cat >/dev/null; }\n'
        'PATH=$FAR_PATH exec sh -c "$1"\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("FAR_PATH", os.environ["PATH"])
    return program


def test_a_far_side_without_any_hash_tool(tmp_path: Path, fake_ssh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "cat", "dd", "mkdir", "mv", "wc", "head", "tail", "cut"):
        found = next(place for base in ("/bin", "/usr/bin") if (place := Path(base, name)).exists())
        (tools / name).symlink_to(found)
    monkeypatch.setenv("FAR_PATH", str(tools))
    from isthmus.carry.ssh.sending import send

    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "it's one").write_bytes(os.urandom(3_000_000))
    far = tmp_path / "far dir"
    far.mkdir()
    (far / "it's one.part").write_bytes((tmp_path / "b" / "it's one").read_bytes()[:1_234_567])
    for read_back, verified in ((False, "size"), (True, "read-back")):
        with Link(Address("ssh", "", "gate", 0, str(far)), Options()) as link:
            sent = send([tmp_path / "b"], link, read_back=read_back)
        assert sent.verified == verified
        assert sent.skipped == (3_000_000 if read_back else 1_234_567)
    assert (far / "it's one").read_bytes() == (tmp_path / "b" / "it's one").read_bytes()


def test_a_far_side_that_takes_no_more_is_given_up_and_gone_on_with_later(
    tmp_path: Path, fake_ssh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from isthmus.carry.ssh.sending import send

    stalled, far = tmp_path / "stalled", tmp_path / "far"
    stalled.mkdir()
    far.mkdir()
    data = os.urandom(3_000_000)
    (tmp_path / "one").write_bytes(data)
    (stalled / "cat").write_text("#!/bin/sh\nhead -c 1000000\nexec sleep 4\n")
    (stalled / "cat").chmod(0o755)
    with monkeypatch.context() as patched, Link(Address("ssh", "", "gate", 0, str(far)), Options()) as link:
        patched.setenv("FAR_PATH", f"{stalled}:{os.environ['PATH']}")
        began = time.monotonic()
        with pytest.raises(UnreachableError, match="takes nothing any more") as caught:
            send([tmp_path / "one"], link, stall=1)
        assert caught.value.temporary
        assert time.monotonic() - began < 30
    assert not (far / "one").exists()
    with Link(Address("ssh", "", "gate", 0, str(far)), Options()) as link:
        sent = send([tmp_path / "one"], link, stall=1)
    assert sent.skipped == 1_000_000
    assert (far / "one").read_bytes() == data


@pytest.mark.parametrize(
    "script",
    [
        "exec yes",
        "exec cat /dev/zero",
        "echo isthmus-far-side 1; while read n; do echo file 1 1; done; echo file 1 1",
        "echo isthmus-far-side 1; echo file -1 99999999999999999999",
        "echo 'This service allows sftp connections only.'; exit 1",
        "exit 0",
        "exit 3",
        "kill -9 $$",
    ],
)
def test_a_hostile_far_shell_is_an_error_of_ours(tmp_path: Path, fake_ssh: Path, script: str) -> None:
    fake_ssh.write_text(fake_ssh.read_text().replace('PATH=$FAR_PATH exec sh -c "$1"', script))
    with Link(Address("ssh", "", "gate", 0, str(tmp_path)), Options()) as link:
        shell = Shell(link, str(tmp_path), read_back=False)
        with pytest.raises((UnreachableError, NoShellError)):
            shell.look([f"file-{number}" for number in range(20_000)], create=True)


def test_the_rest_of_an_earlier_try_does_no_harm(tmp_path: Path, fake_ssh: Path) -> None:
    data = os.urandom(300_000)
    (tmp_path / "a").write_bytes(data)
    (tmp_path / "a.part").write_bytes(data[:100_000])
    with (
        Link(Address("ssh", "", "gate", 0, str(tmp_path)), Options()) as link,
        open_regular(tmp_path / "a") as src,
    ):
        shell = Shell(link, str(tmp_path), read_back=False)
        shell.look(["a"], create=False)
        old = shell.run(f"{{ dd bs=1 seek=100000 count=0 conv=notrunc </dev/null; cat; }} 1<>{tmp_path}/a.part")
        shell.write("a.part", 100_000, [memoryview(data)[100_000:]])
        old.feed([data[100_000:150_000]])  # it comes late
        old.finish()
        assert shell.same("a.part", src, 300_000) is not None


@pytest.mark.parametrize(
    "answer",
    [b"", b"\xff\xff\xff\xff", b"\0\0\0\1\2", b"Welcome!\nto the machine\n", b"\0\0\0\x0a\2\0\0\0\3\0\0\0\x09x"],
)
def test_what_is_no_sftp_server(
    tmp_path: Path, fake_ssh: Path, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "answer").write_bytes(answer)
    monkeypatch.setenv("ANSWER", str(tmp_path / "answer"))
    fake_ssh.write_text(fake_ssh.read_text().replace("exec cat >/dev/null; }", "exit 0; }"))
    with Link(Address("sftp", "", "gate", 0, "/srv"), Options()) as link, pytest.raises(UnreachableError):
        Sftp(link)


_packets = st.lists(
    st.tuples(st.sampled_from([101, 102, 103, 105, 200, 201, 7]), st.binary(max_size=60)), max_size=8
)


@settings(deadline=None, max_examples=60)
@given(packets=_packets, numbered=st.booleans(), junk=st.binary(max_size=20))
def test_hostile_sftp_answers_are_errors_of_ours(
    packets: list[tuple[int, bytes]], numbered: bool, junk: bytes
) -> None:
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        program, answer, local = Path(place, "ssh"), Path(place, "answer"), Path(place, "local")
        bodies = [
            bytes([kind]) + (number.to_bytes(4, "big") if numbered else b"") + body
            for number, (kind, body) in enumerate(packets, 1)
        ]
        sent = [b"\2\0\0\0\3", *bodies]
        answer.write_bytes(b"".join(len(one).to_bytes(4, "big") + one for one in sent) + junk)
        local.write_bytes(b"abc")
        program.write_text(f"#!/bin/sh\ncat {answer}\n")
        program.chmod(0o755)
        patch.setenv("PATH", f"{place}:{os.environ['PATH']}")
        link = Link(Address("sftp", "", "gate", 0, "/srv"), Options())
        far = SftpFar(link, "/srv", read_back=False)
        try:
            with open_regular(local) as source:
                far.look(["a"], create=False)
                far.same("a", source, 3)
                far.write("a.part", 0, [memoryview(b"abc")])
        except IsthmusError:
            pass
        finally:
            far.close()
            link.close()


def test_what_a_killed_sender_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead, begun = tmp_path / "isthmus-ssh-dead", tmp_path / "isthmus-ssh-begun"
    for place in (dead, begun):
        place.mkdir()
    (dead / "held").touch()
    link = Link(parse_address("ssh://gate/srv"), Options())
    remove_left_behind()
    assert not dead.exists()
    assert begun.exists()
    assert {path.name for path in tmp_path.iterdir() if path != begun} != set()
    link.close()
    assert list(tmp_path.iterdir()) == [begun]
