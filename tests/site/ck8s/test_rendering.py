"""Both clusters rendered from a real checkout with what `configure` wrote: nothing asks the Internet any more.

ISTHMUS_CK8S_CHECKOUT names the checkout; without it these tests are skipped.
"""

import os
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import yaml

from isthmus.inventory.settle import settle
from isthmus.scan.run import scan
from isthmus.scan.source import SourceSpec
from isthmus.site.output import write_files
from isthmus.site.parts import configure_parts
from isthmus.site.plan import Site

CHECKOUT = os.environ.get("ISTHMUS_CK8S_CHECKOUT", "")
pytestmark = pytest.mark.skipif(not os.path.isdir(CHECKOUT), reason="ISTHMUS_CK8S_CHECKOUT names no checkout")


def test_every_endpoint_is_decided_and_every_reference_is_in_the_mapping(guide: Site, tmp_path: Path) -> None:
    section = msgspec.structs.replace(guide.config.site.ck8s, checkout=CHECKOUT)
    config = msgspec.structs.replace(guide.config, site=msgspec.structs.replace(guide.config.site, ck8s=section))
    site = replace(guide, config=config)
    part = configure_parts(site, ["ck8s"])["ck8s"]
    assert part.decisions == ()
    write_files(part.files, tmp_path)
    secrets = {"objectStorage": {"s3": {"accessKey": "key", "secretKey": "secret"}}}
    (tmp_path / "ck8s" / "secrets.yaml").write_text(yaml.safe_dump(secrets))
    found = scan([SourceSpec.parse(f"ck8s:{CHECKOUT}?cluster=both&config={tmp_path / 'ck8s'}")])
    assert found.unresolved == ()
    settled = settle(found, config.platform, site=config.site)
    assert [endpoint.url for endpoint in settled.endpoints if endpoint.decision is None] == []
    assert len(settled.references) > 70
    for reference in settled.references:
        if reference.kind in ("image", "artifact"):
            host = reference.name.partition("/")[0]
            assert site.mapping.host_prefix(host)
