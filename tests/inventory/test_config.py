import json
from pathlib import Path

import pytest

from isthmus.errors import UsageError
from isthmus.inventory.config import Config, schema
from isthmus.inventory.config_file import load_config, parse_config

WHOLE = """
platform:
  name: welkin
  architectures: [linux/amd64]
  sources: [ck8s:../apps?cluster=both, kubespray:../kubespray]
  add:
  - {image: docker.io/library/busybox:1.36}
  - {artifact: ghcr.io/aquasecurity/trivy-db:2, refresh: 24h}
  - {file: https://artifacts.example.org/r.zip, sha256: "%s", serve: opensearch/}
  decide: [{endpoint: https://slack.com, decision: disable, reason: no chat inside}]
  waive: [{what: "images of *", reason: not used}]
  upstreams: {docker.io: "https://proxy.example.org"}
  catalogue: [own]
site:
  domain: air-gapped.internal
  registry: {host: registry.air-gapped.internal, mapping: prefix, kind: harbor, ca: ca.pem, auth: env:SITE_AUTH}
  files: {host: fileserver.air-gapped.internal, port: 8080, address: 10.65.131.137}
  dns: {servers: [10.65.131.137]}
  ntp: {servers: [ntp.air-gapped.internal]}
  nodes: {runtime: containerd, kernel: "5.15"}
  ck8s: {config: env}
""" % ("0" * 64)


def test_the_whole_of_it(tmp_path: Path) -> None:
    file = tmp_path / "isthmus.yaml"
    file.write_text(WHOLE)
    config = load_config(file)
    assert config.platform.sources == ("ck8s:../apps?cluster=both", "kubespray:../kubespray")
    assert config.platform.add[1].refresh == "24h"
    assert config.platform.decide[0].decision == "disable"
    assert config.platform.upstreams == {"docker.io": "https://proxy.example.org"}
    assert config.site.registry.mapping == "prefix"
    assert config.site.files.port == 8080
    assert config.site.registry.ca == str(tmp_path / "ca.pem")
    assert config.site.ck8s.config == str(tmp_path / "env")
    assert config.platform.catalogue == (str(tmp_path / "own"),)


@pytest.mark.parametrize("text", ["", "{}", "platform:\nsite:\n", "# only a comment\n", "platform: {name: }"])
def test_what_is_left_out_has_a_default(text: str) -> None:
    assert parse_config(text.encode()) == Config()


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("platfrom: {}", "platfrom", "'platform'"),
        ("site: {registry: {hsot: x}}", "site.registry.hsot", "'host'"),
        ("platform: {decide: [{endpoint: x, decison: allow}]}", "platform.decide[0].decison", "'decision'"),
        ("platform: {xyzzy: 1}", "platform.xyzzy", "architectures"),
        ("platform: {sources: [x]}", "platform.sources[0]", ""),
        ("platform: {decide: [{endpoint: x, decision: maybe}]}", "platform.decide[0].decision", ""),
        ("platform: {waive: [{what: x}]}", "reason", ""),
        ("platform: {add: [{}]}", "platform.add[0]", "exactly one"),
        ("platform: {add: [{image: a, file: b}]}", "platform.add[0]", "exactly one"),
        ("platform: {upstreams: {docker.io: proxy}}", "platform.upstreams", ""),
        ("site: {files: {port: 99999}}", "site.files.port", ""),
        ("site: {registry: {auth: hunter2}}", "site.registry.auth", ""),
        ("site: {nodes: {kernel: 5.15}}", "site.nodes.kernel", "quotes"),
        ("a: [", "", ""),
        ("[]", "", ""),
        ("a: 1\n---\nb: 1", "", ""),
        ("a: {{ x }}", "", ""),
    ],
)
def test_what_is_wrong_is_said(text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_config(text.encode(), "my.yaml")
    error = caught.value
    assert error.code == "invalid-config"
    assert error.where.startswith("my.yaml")
    assert message in error.message
    assert hint in error.hint
    assert "hunter2" not in str(error)


def test_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_config(tmp_path / "isthmus.yaml")
    assert caught.value.code == "file-not-found"
    (tmp_path / "bad.yaml").write_bytes(b"\xff")
    with pytest.raises(UsageError) as caught:
        load_config(tmp_path / "bad.yaml")
    assert caught.value.code == "invalid-config"


def test_the_schema_says_the_same() -> None:
    document = schema()
    json.dumps(document)
    sections = document["$defs"]
    assert all(section["additionalProperties"] is False for section in sections.values())
    assert set(sections["PlatformSection"]["properties"]) >= {"sources", "add", "decide", "waive", "upstreams"}
    assert sections["RegistrySection"]["properties"]["mapping"]["enum"] == ["flat", "prefix"]
    assert all(section["description"] for section in sections.values())
