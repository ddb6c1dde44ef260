"""Scripts that bring secrets into Compliant Kubernetes from where they are kept; none is in a generated file.

Not here: the settings that name those secrets.
"""

import os

from isthmus.site.cert_manager import SECRET
from isthmus.site.output import OutputFile
from isthmus.site.plan import Site
from isthmus.site.text import HEADING


def scripts(site: Site) -> list[OutputFile]:
    """Those that this site needs."""
    found = []
    if site.config.site.domain:
        script = _ISSUER.replace("@PKI@", os.path.basename(site.config.site.pki.directory)).replace(
            "@SECRET@", SECRET
        )
        found.append(OutputFile("ck8s/add-issuer-secret.sh", script.encode()))
    if site.config.site.registry.pull_secret:
        script = _PULL.replace("@NAME@", site.config.site.registry.pull_secret).replace(
            "@HOST@", site.registry_host
        )
        found.append(OutputFile("ck8s/create-pull-secret.sh", script.encode()))
    return found


_ISSUER = f"""#!/bin/sh
# Puts the site's issuing CA into secrets.yaml, from where the issuers chart makes the Secret of the ClusterIssuer.
# {HEADING}
set -eu
pki=${{1:-@PKI@}}
secrets=${{2:-${{CK8S_CONFIG_PATH:?}}/secrets.yaml}}
for file in issuing.pem issuing.key; do
    if [ ! -r "$pki/$file" ]; then
        echo "$pki/$file cannot be read; usage: add-issuer-secret.sh [PKI [SECRETS]]" >&2
        exit 2
    fi
done
value=$(python3 -c 'import json, sys
print(json.dumps({{"tls.crt": open(sys.argv[1]).read(), "tls.key": open(sys.argv[2]).read()}}))' \\
    "$pki/issuing.pem" "$pki/issuing.key")
# sops reads the value as an argument; nobody else sees it only where /proc hides the arguments of others.
sops set "$secrets" '["issuers"]["secrets"]["@SECRET@"]' "$value"
"""

_PULL = f"""#!/bin/sh
# Makes the Secret that Trivy's scans read the site's registry with, from a file with user:password.
# {HEADING}
set -eu
[ $# -ge 1 ] || {{ echo "usage: create-pull-secret.sh FILE [NAMESPACE]" >&2; exit 2; }}
credentials=$(head -n 1 "$1")
# By a pipe, since arguments are seen by everybody on the machine.
auth=$(printf %s "$credentials" | base64 | tr -d '\\n')
printf '{{"auths":{{"@HOST@":{{"auth":"%s"}}}}}}' "$auth" \\
    | kubectl create secret docker-registry @NAME@ --namespace "${{2:-monitoring}}" \\
        --from-file=.dockerconfigjson=/dev/stdin --dry-run=client -o yaml \\
    | kubectl apply -f -
"""
