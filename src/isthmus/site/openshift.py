"""OpenShift: image mirror sets that never ask the source, and the CA that the nodes trust.

config.openshift.io/v1 ImageDigestMirrorSet and ImageTagMirrorSet; both are needed, since one is for names with a
digest and the other for names with a tag. Not here: catalogues of operators.
"""

from typing import Any

from isthmus.site.names import moved_names
from isthmus.site.output import OutputFile
from isthmus.site.plan import Part, Site
from isthmus.site.text import yaml_documents


def configure(site: Site) -> Part:
    """`openshift/mirrors.yaml`, and `openshift/trust.yaml` where the site has a CA; apply with `oc apply -f`."""
    mirrors = yaml_documents(_mirror_sets(site), "oc apply -f mirrors.yaml; the nodes then restart one by one.")
    files = [OutputFile("openshift/mirrors.yaml", mirrors.encode())]
    if site.ca is not None and not site.is_plain:
        trust = yaml_documents(_trust(site, site.ca), "oc apply -f trust.yaml")
        files.append(OutputFile("openshift/trust.yaml", trust.encode()))
    return Part(tuple(files))


def _mirror_sets(site: Site) -> list[dict[str, Any]]:
    places = {
        host: "/".join(filter(None, (site.registry_host, site.mapping.host_prefix(host)))) for host in site.hosts
    }
    for reference in moved_names(site):
        places[f"{reference.host}/{reference.path}"] = f"{site.registry_host}/{site.mapping.repository(reference)}"
    entries = [
        {"source": source, "mirrors": [mirror], "mirrorSourcePolicy": "NeverContactSource"}
        for source, mirror in sorted(places.items())
    ]
    kinds = (("ImageDigestMirrorSet", "imageDigestMirrors"), ("ImageTagMirrorSet", "imageTagMirrors"))
    return [
        {
            "apiVersion": "config.openshift.io/v1",
            "kind": kind,
            "metadata": {"name": "isthmus"},
            "spec": {field: entries},
        }
        for kind, field in kinds
    ]


def _trust(site: Site, certificate: bytes) -> list[dict[str, Any]]:
    # A key of a ConfigMap cannot hold a colon, so OpenShift writes the port after two dots.
    key = site.registry_host.replace(":", "..")
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "isthmus-registry-ca", "namespace": "openshift-config"},
            "data": {key: certificate.decode()},
        },
        {
            "apiVersion": "config.openshift.io/v1",
            "kind": "Image",
            "metadata": {"name": "cluster"},
            "spec": {"additionalTrustedCA": {"name": "isthmus-registry-ca"}},
        },
    ]
