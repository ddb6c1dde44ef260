"""The probes against answers that are wrong, late, or hostile. Real servers are in tests/real."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.check.environment import Contract, Probe, dns, ntp, probes, run
from isthmus.check.environment.contract import Receiver
from isthmus.check.environment.naming import (
    inside_question,
    outside_question,
    policy_question,
    split,
    time_question,
)
from isthmus.check.environment.probe import Question
from isthmus.check.environment.s3 import Account, signed_headers
from isthmus.check.environment.services import Service


@contextmanager
def answering(reply: Callable[[bytes], bytes]) -> Iterator[str]:
    """A UDP server that sends what `reply` makes of each question, nothing where that is empty."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(0.1)
        over = threading.Event()

        def work() -> None:
            while not over.is_set():
                try:
                    data, address = sock.recvfrom(4096)
                except TimeoutError:
                    continue
                if answer := reply(data):
                    sock.sendto(answer, address)

        thread = threading.Thread(target=work)
        thread.start()
        yield f"127.0.0.1:{sock.getsockname()[1]}"
        over.set()
        thread.join()


def dns_reply(code: int, *addresses: str) -> Callable[[bytes], bytes]:
    def reply(query: bytes) -> bytes:
        records = b"".join(b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + socket.inet_aton(address) for address in addresses)
        head = query[:2] + bytes([0x81, 0x80 | code]) + b"\0\1" + len(addresses).to_bytes(2, "big") + bytes(4)
        return head + query[12:] + records

    return reply


def outcome(question: Question) -> Probe:
    return run([question], 10)[0]


@pytest.mark.parametrize(("code", "word"), [(2, "SERVFAIL"), (3, "NXDOMAIN"), (5, "REFUSED")])
def test_names_from_outside_are_refused(code: int, word: str) -> None:
    with answering(dns_reply(code)) as server:
        found = outcome(outside_question(server, "registry-1.docker.io"))
    assert (found.outcome, found.answer) == ("pass", word)


def test_names_from_outside_that_are_answered() -> None:
    with answering(dns_reply(0, "198.51.100.1")) as server:
        found = outcome(outside_question(server, "registry-1.docker.io"))
        assert (found.outcome, found.answer) == ("fail", "198.51.100.1: it asks somebody outside")
    with answering(lambda _: b"") as server:
        late = outcome(outside_question(server, "registry-1.docker.io"))
    assert (late.outcome, late.answer) == ("fail", "no answer within 4 s")

    def slow(query: bytes) -> bytes:
        time.sleep(1.2)
        return dns_reply(5)(query)

    with answering(slow) as server:
        found = outcome(outside_question(server, "registry-1.docker.io"))
    assert found.outcome == "fail"
    assert found.answer.startswith("REFUSED, but only after 1.")


def test_names_of_the_site() -> None:
    with answering(dns_reply(0, "10.0.0.2", "10.0.0.1")) as server:
        assert outcome(inside_question(server, "a.site", ("10.0.0.1", "10.0.0.2"))).outcome == "pass"
        wrong = outcome(inside_question(server, "a.site", ("10.0.0.3",)))
        assert (wrong.outcome, wrong.answer) == ("fail", "10.0.0.1, 10.0.0.2, and not 10.0.0.3")
        assert outcome(inside_question(server, "*.app.site", ("10.0.0.1",))).asked.endswith(
            "isthmus-probe.app.site"
        )


def ntp_reply(offset: float, stratum: int = 10, mode: int = 4, leap: int = 0) -> Callable[[bytes], bytes]:
    def reply(query: bytes) -> bytes:
        now = time.time() + offset + 2208988800
        stamp = int(now).to_bytes(4, "big") + int(now % 1 * (1 << 32)).to_bytes(4, "big")
        head = bytes([leap << 6 | 4 << 3 | mode, stratum, 0, 0]) + bytes(8) + bytes([127, 127, 1, 1])
        return head + bytes(8) + query[40:48] + stamp + stamp

    return reply


@pytest.mark.parametrize(
    ("reply", "word", "expected"),
    [
        (ntp_reply(0), "pass", "stratum 10, it follows its own clock"),
        (ntp_reply(90), "fail", r"offset \+(89|90)\.\d+ s"),
        (ntp_reply(-3600), "fail", r"offset -(3599|3600)\.\d+ s"),
        (ntp_reply(0, stratum=0), "fail", "it refuses"),
        (ntp_reply(0, leap=3), "fail", "its own clock is not set"),
        (ntp_reply(0, mode=3), "fail", "no server's"),
        (lambda _: bytes(48), "fail", "no answer to the question"),
        (lambda _: b"x", "fail", "no answer to the question"),
    ],
)
def test_time(reply: Callable[[bytes], bytes], word: str, expected: str) -> None:
    with answering(reply) as server:
        found = outcome(time_question(server, {}))
    assert found.outcome == word
    assert re.search(expected, found.answer)


@given(st.binary(max_size=200))
def test_no_answer_of_a_name_server_is_worse_than_a_value_error(data: bytes) -> None:
    try:
        dns._parsed(b"\0\0\x81\x80" + data.ljust(8, b"\0"), 1, 0.0)
    except ValueError:
        return


@given(st.binary(min_size=48, max_size=60))
def test_no_answer_of_a_time_server_is_worse_than_a_value_error(data: bytes) -> None:
    try:
        ntp._parsed(data, 0.0, 0.0)
    except ValueError:
        return


def test_the_time_for_all_is_bounded_and_the_order_kept() -> None:
    def never() -> tuple[str, str, str]:
        time.sleep(3)
        return "pass", "", ""

    started = time.monotonic()
    found = run([Question("a", "1", never), Question("b", "2", lambda: ("pass", "yes", ""))], 0.5)  # type: ignore[arg-type]
    assert time.monotonic() - started < 2
    assert [(each.what, each.outcome) for each in found] == [("a", "fail"), ("b", "pass")]
    assert found[0].answer == "no answer within 0 s"


def test_what_is_not_known_is_skipped_and_says_why() -> None:
    found = run(probes(Contract()))
    assert {each.outcome for each in found} == {"skip"}
    assert {each.what for each in found} >= {"ntp", "dns", "registry", "files", "oidc", "s3", "alerts"}


def test_nobody_there_is_a_failure_in_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    service = Service(f"http://127.0.0.1:{port}")
    contract = Contract(
        registry=service,
        files=service,
        issuer=service,
        storage=service,
        receivers=(
            Receiver("hook", "webhook", f"http://127.0.0.1:{port}/x"),
            Receiver("m", "email", f"127.0.0.1:{port}"),
        ),
    )
    failed = [each for each in run(probes(contract)) if each.outcome == "fail"]
    assert {each.what for each in failed} == {"registry", "files", "oidc", "s3", "alerts"}
    assert {each.answer for each in failed} == {"Connection refused"}


def test_a_server_that_never_ends_its_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            peer, _ = listener.accept()
            with peer:
                for _ in range(20):
                    try:
                        peer.sendall(b"H")
                    except OSError:
                        return
                    time.sleep(0.2)

        threading.Thread(target=drip, daemon=True).start()
        service = Service(f"http://127.0.0.1:{listener.getsockname()[1]}")
        started = time.monotonic()
        found = run(probes(Contract(registry=service)), 1.0)
    assert time.monotonic() - started < 3
    assert next(each for each in found if each.what == "registry").outcome == "fail"


def test_servers_and_ports() -> None:
    assert split("10.0.0.1", 53) == ("10.0.0.1", 53)
    assert split("10.0.0.1:5353", 53) == ("10.0.0.1", 5353)
    assert split("fd00::1", 53) == ("fd00::1", 53)
    assert split("[fd00::1]:5353", 53) == ("fd00::1", 5353)


def test_signatures_are_those_of_the_published_example() -> None:
    """AWS, "Signature calculations for the Authorization header", GET Bucket Lifecycle."""
    import datetime as dt

    account = Account(
        "https://examplebucket.s3.amazonaws.com", "us-east-1", "AKIAIOSFODNN7EXAMPLE",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    )  # fmt: skip
    moment = dt.datetime(2013, 5, 24, tzinfo=dt.UTC)
    headers = signed_headers(account, "GET", "https://examplebucket.s3.amazonaws.com/?lifecycle=", moment)
    expected = "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
    assert headers["Authorization"].endswith(f"Signature={expected}")


def test_policies_must_cover_what_names_really_stand_for() -> None:
    with answering(dns_reply(0, "10.0.0.1")) as server:
        inside = outcome(policy_question((server,), "a.site", ("10.0.0.0/24",)))
        assert (inside.outcome, inside.answer) == ("pass", "10.0.0.1 in 10.0.0.0/24")
        outside = outcome(policy_question((server,), "a.site", ("10.1.0.0/24",)))
        assert (outside.outcome, outside.answer) == ("fail", "10.0.0.1 is not in 10.1.0.0/24")
        assert outcome(policy_question((server,), "a.site", ())).outcome == "fail"
    assert outcome(policy_question((), "10.0.0.7", ("10.0.0.7/32",))).outcome == "pass"
