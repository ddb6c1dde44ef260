"""`cert-manager/`: a ClusterIssuer that signs with the site's issuing CA, and the script that makes its Secret.

The CA's key is never copied into a generated file: the script gives it to the API server from where the
authority keeps it. Not here: Compliant Kubernetes, which has a place of its own for issuers (`ck8s`).
"""

import base64
import os
from typing import Any

from isthmus.inventory.site_config import AcmeSection
from isthmus.site.output import OutputFile
from isthmus.site.plan import Part, Site
from isthmus.site.text import HEADING, without_empty, yaml_text

SECRET = "site-ca"  # noqa: S105  # the name of one


def configure(site: Site) -> Part:
    """The issuer, the script, and values for cert-manager's chart. Nothing without a domain."""
    section = site.config.site
    if not section.domain:
        return Part(notes=("cert-manager: not written, as isthmus.yaml has no site.domain",))
    values = {
        "extraArgs": [f"--default-issuer-name={section.pki.issuer}", "--default-issuer-kind=ClusterIssuer"],
    }
    files = (
        OutputFile(
            "cert-manager/issuer.yaml", yaml_text(cluster_issuer(site), "kubectl apply -f issuer.yaml").encode()
        ),
        OutputFile("cert-manager/create-secret.sh", _script(os.path.basename(section.pki.directory)).encode()),
        OutputFile(
            "cert-manager/values.yaml",
            yaml_text(
                values, "For cert-manager's chart: certificates that name no issuer get the site's."
            ).encode(),
        ),
    )
    return Part(files)


def cluster_issuer(site: Site) -> dict[str, Any]:
    """The ClusterIssuer; cert-manager looks for its Secret in its own namespace.

    Where the site runs an ACME server, that one is asked; the site's CA is what it is trusted by.
    """
    acme = site.config.site.pki.acme
    if acme.directory:
        return {
            "apiVersion": "cert-manager.io/v1",
            "kind": "ClusterIssuer",
            "metadata": {"name": site.config.site.pki.issuer},
            "spec": {"acme": _acme(site, acme)},
        }
    return {
        "apiVersion": "cert-manager.io/v1",
        "kind": "ClusterIssuer",
        "metadata": {"name": site.config.site.pki.issuer},
        "spec": {"ca": {"secretName": SECRET}},
    }


def _acme(site: Site, acme: AcmeSection) -> dict[str, Any]:
    return without_empty(
        {
            "server": acme.directory,
            "email": acme.email,
            "caBundle": base64.b64encode(site.ca).decode() if site.ca is not None else "",
            "privateKeySecretRef": {"name": f"{site.config.site.pki.issuer}-account"},
            "solvers": [{"selector": {}, "http01": {"ingress": {"ingressClassName": "nginx"}}}],
        }
    )


def _script(directory: str) -> str:
    return f"""#!/bin/sh
# Gives the site's issuing CA to cert-manager, or a new one after `isthmus pki renew`.
# {HEADING}
set -eu
pki=${{1:-{directory}}}
namespace=${{2:-cert-manager}}
for file in issuing.pem issuing.key; do
    if [ ! -r "$pki/$file" ]; then
        echo "$pki/$file cannot be read; usage: create-secret.sh [PKI [NAMESPACE]]" >&2
        exit 2
    fi
done
if grep -q ENCRYPTED "$pki/issuing.key"; then
    echo "$pki/issuing.key is encrypted: decrypt it with openssl pkey to a pipe, and give cert-manager that" >&2
    exit 2
fi
kubectl create secret tls {SECRET} --namespace "$namespace" --cert "$pki/issuing.pem" --key "$pki/issuing.key" \\
    --dry-run=client -o yaml | kubectl apply -f -
"""
