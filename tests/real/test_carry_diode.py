"""A bundle crosses a real one-way link between two network namespaces.

The kernel (nftables) loses 5 % of the datagrams, and drops whatever the receiver's side would send, ARP included;
a counter at the sender's end proves that nothing came. Duplicates and reordering are made by a simulator, the
relay of tests/carry/lossy_link.py, since `tc netem` is not in every kernel. ISTHMUS_DIODE_BYTES sets the size.
"""

import json
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from isthmus.bundle import generate_keys, load_private_key, load_public_key, pack, plan_bundle, unpack, verify
from isthmus.store import Store
from tests.bundle.conftest import put_image, tree
from tests.real.netns import ClosedNetwork, Namespace
from tests.real.programs import ProgramFailed

pytestmark = [pytest.mark.real, pytest.mark.root, pytest.mark.slow]

SIZE = int(os.environ.get("ISTHMUS_DIODE_BYTES", "100000000"))
RATE = 50e6
PORT = 9917
RELAY = Path(__file__).parent.parent / "carry" / "lossy_link.py"

ONE_WAY = """
table inet diode {
  chain in {
    type filter hook input priority 0;
    udp dport 9917 numgen random mod 100 < 5 counter drop;
  }
  chain out {
    type filter hook output priority 0;
    counter drop;
  }
}
table arp diode {
  chain out {
    type filter hook output priority 0;
    counter drop;
  }
}
"""
COUNTED = """
table netdev diode {
  chain in {
    type filter hook ingress device "node0" priority 0;
    counter;
  }
}
"""
COMMAND = """
import pathlib, re, sys
from isthmus.cli.main import main
try:
    main(sys.argv[2:])
finally:
    peak = re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]
    pathlib.Path(sys.argv[1]).write_text(peak)
"""


def rules(side: Namespace, text: str, place: Path) -> None:
    place.write_text(text)
    try:
        side.output("nft", "-f", place)
    except ProgramFailed as error:
        pytest.skip(f"nftables cannot do this here: {error.complaint.strip()}")


def packets(side: Namespace, family: str) -> list[int]:
    return [
        int(n) for n in re.findall(r"counter packets (\d+)", side.output("nft", "list", "table", family, "diode"))
    ]


def test_a_bundle_crosses_a_diode(network_namespace: ClosedNetwork, tmp_path: Path) -> None:
    low, high = network_namespace.site, network_namespace.node
    keys = generate_keys(tmp_path / "keys")
    with Store.create(tmp_path / "store") as store:
        for number in range(10):
            layer = random.Random(number).randbytes(SIZE // 10)
            put_image(store, f"registry.example/app/{number}", "1", [layer])
        plan = plan_bundle(store, volume_size=SIZE // 3 + 100_000)
        pack(plan, store, tmp_path / "bundle", load_private_key(keys.private))
    address = json.loads(high.output("ip", "-json", "link", "show", "site0"))[0]["address"]
    low.output("ip", "neigh", "replace", high.address, "lladdr", address, "dev", "node0", "nud", "permanent")
    rules(high, ONE_WAY, tmp_path / "one-way.nft")
    rules(low, COUNTED, tmp_path / "counted.nft")
    site = tmp_path / "site"
    isthmus = [sys.executable, "-c", COMMAND]
    listen = ["receive", f"diode://{high.address}:{PORT}", str(site), "--timeout", "30s", "--json", "-q"]
    receive = [*high.enter, *isthmus, str(tmp_path / "receiver"), *listen]
    relay = [*low.enter, sys.executable, str(RELAY), low.address, str(PORT), high.address, str(PORT)]
    url = f"diode://{low.address}:{PORT}?rate={RATE / 1e6:g}M&redundancy=20&repeat=1"
    with (
        subprocess.Popen(receive, stdout=subprocess.PIPE, text=True) as receiver,
        subprocess.Popen(
            [*relay, "0", "0.01", "0.05", "1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as middle,
    ):
        assert middle.stdout
        assert middle.stdout.readline() == "ready\n"
        time.sleep(1)
        words = ["send", str(tmp_path / "bundle"), url, "--json", "-q"]
        sent = json.loads(low.output(*isthmus, tmp_path / "sender", *words, timeout=280))
        out, _ = receiver.communicate(timeout=120)
        counts, _ = middle.communicate("")
    assert receiver.returncode == 0
    received = json.loads(out)
    lost, _ = packets(high, "inet")
    peaks = [int((tmp_path / side).read_text()) for side in ("sender", "receiver")]
    figures = {
        "bytes": SIZE,
        "sent": sent,
        "received": received,
        "simulator": counts.strip(),
        "lost in the kernel": lost,
        "peaks": peaks,
    }
    print(figures)
    assert packets(low, "netdev") == [0], "something came back"
    assert lost > 0.04 * SIZE / 1364
    assert received["session"] == sent["session"]
    assert received["rebuilt"] > 0
    rate = sent["wire_bytes"] * 8 / sent["seconds"]
    assert 0.3 * RATE < rate < 1.02 * RATE, "a busy machine may be slower, none faster"
    assert max(peaks) < 200 * 1024, "KiB"
    assert verify([site], [load_public_key(keys.public)]).complete
    unpack([site], tmp_path / "far", [load_public_key(keys.public)])
    assert tree(tmp_path / "far") == tree(tmp_path / "store")
