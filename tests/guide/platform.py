"""What the guide's journey carries: a checkout in miniature that asks for real names. Not a test file."""

from pathlib import Path

from tests.scan_sources.checkout import make_checkout

IMAGES = (
    "docker.io/opensearchproject/opensearch:2.19.4",
    "docker.io/falcosecurity/falco:0.41.3",
    "ghcr.io/aquasecurity/trivy-operator:0.27.0",
    "mirror.gcr.io/aquasec/trivy:0.66.0",
    "quay.io/jetstack/cert-manager-controller:v1.17.2",
    "registry.k8s.io/defaultbackend-amd64:1.5",
    "docker.io/goharbor/trivy-adapter-photon:v2.13.1",
)
# As the flavour has them today; the checkout's own tests have the rest.
FLAVOUR_COMMON = """\
global: {issuer: set-me, baseDomain: set-me, opsDomain: set-me}
web: {list: [c]}
trivy:
  scanner:
    dbRegistry: set-me
    dbRepository: set-me
    javaDbRegistry: set-me
    javaDbRepository: set-me
    registry: {mirror: {docker.io: set-me, ghcr.io: set-me, index.docker.io: set-me, quay.io: set-me}}
networkPolicies: {global: {trivy: {ips: [set-me], port: 443}}}
"""
FLAVOUR_SC = """\
alerts: {alertTo: set-me, customReceivers: [set-me]}
opensearch: {plugins: {additionalPlugins: [set-me], installExternalObjectStoragePlugin: false}}
"""
# Types of what the guide names, and of nothing else: the real one is the user's checkout's.
SCHEMA = """\
$schema: https://json-schema.org/draft/2020-12/schema
type: object
required: [global]
properties:
  global: {type: object, properties: {baseDomain: {type: string, format: hostname}, issuer: {type: string}}}
  alerts:
    type: object
    properties: {alertTo: {type: string}, customReceivers: {type: array, items: {type: object}}}
    not: {required: [alertsTo]}
  falco:
    type: object
    properties:
      driver: {type: object, properties: {kind: {enum: [kmod, modern_ebpf, ebpf]}}}
      customIndexes: {type: array, items: {type: object, properties: {url: {type: string, format: uri}}}}
"""


def make_platform(root: Path) -> None:
    """Write the checkout."""
    pods = [
        f"apiVersion: v1\nkind: Pod\nmetadata: {{name: p{number}}}\nspec: {{containers: [{{image: '{name}'}}]}}\n"
        for number, name in enumerate(IMAGES)
    ]
    changes = {
        "helmfile.d/hooks/extra.yaml": "---\n".join(pods),
        "config/flavors/air-gapped/common-config.yaml": FLAVOUR_COMMON,
        "config/flavors/air-gapped/sc-config.yaml": FLAVOUR_SC,
        "config/flavors/air-gapped/wc-config.yaml": "{}\n",
        "config/schemas/config.yaml": SCHEMA,
        "helmfile.d/lists/images.yaml": "images: {web: {main: 'ghcr.io/elastisys/user-demo:1.0'}}\n",
    }
    make_checkout(root, changes)
