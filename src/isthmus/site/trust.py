"""`trust/`: the site's CA for operating systems, and for containers, which do not see the node's.

Not here: making the CA (`pki`), and the registry's CA for runtimes, which have places of their own for it.
"""

from isthmus.site.installer import Placed, installer
from isthmus.site.output import OutputFile
from isthmus.site.plan import Decision, Part, Site
from isthmus.site.text import yaml_documents

_NAME = "isthmus-site.crt"
# Where each family of distributions looks for more authorities, and what makes it read them.
_PLACES = {
    "/usr/local/share/ca-certificates": "update-ca-certificates",
    "/etc/pki/ca-trust/source/anchors": "update-ca-trust",
    "/etc/pki/trust/anchors": "update-ca-certificates",
}


def configure(site: Site) -> Part:
    """The certificate, an installer for Debian's, Red Hat's and SUSE's families, a ConfigMap, a trust Bundle."""
    if site.ca is None:
        if site.is_plain or site.skip_verify or site.ca_path or not site.config.site.domain:
            return Part(notes=("trust: not written, as no CA of the site is known",))
        why = "nodes and containers cannot know the site's certificates without its CA"
        return Part(decisions=(Decision("site.registry.ca", why, "make one: isthmus pki init; or name the file"),))
    script = installer(
        "trust",
        "the site's CA for this operating system",
        [Placed("ca.crt", f"{place}/{_NAME}", condition=f'[ -d "$root{place}" ]') for place in _PLACES],
        after=[
            f"if [ -d {place} ] && command -v {command} >/dev/null; then {command}; fi"
            for place, command in _PLACES.items()
        ],
    )
    how = (
        "kubectl apply -f kubernetes.yaml. Containers take the ConfigMap as a volume and name the file in",
        "SSL_CERT_FILE; with trust-manager, the Bundle brings it into every namespace.",
    )
    files = (
        OutputFile("trust/ca.crt", site.ca),
        script,
        OutputFile("trust/kubernetes.yaml", yaml_documents(_documents(site.ca), *how).encode()),
    )
    return Part(files)


def _documents(certificate: bytes) -> list[dict[str, object]]:
    text = certificate.decode()
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "site-ca", "namespace": "default"},
            "data": {"ca.crt": text},
        },
        {
            "apiVersion": "trust.cert-manager.io/v1alpha1",
            "kind": "Bundle",
            "metadata": {"name": "site-ca"},
            "spec": {"sources": [{"inLine": text}], "target": {"configMap": {"key": "ca.crt"}}},
        },
    ]
