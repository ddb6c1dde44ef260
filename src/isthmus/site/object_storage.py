"""`object-storage/`: the endpoint as the usual clients want it, and a script that shows that it answers.

Keys stay where isthmus.yaml says they are. Not here: making buckets.
"""

import shlex

from isthmus.site.output import OutputFile
from isthmus.site.plan import Decision, Part, Site
from isthmus.site.text import HEADING, heading


def configure(site: Site) -> Part:
    """`endpoint.env` and `check.sh`. Nothing where isthmus.yaml names no object storage."""
    section = site.config.site.object_storage
    if section.endpoint is None:
        return Part(notes=("object-storage: not written, as isthmus.yaml names none",))
    settings = {
        "AWS_ENDPOINT_URL_S3": section.endpoint,
        "AWS_REGION": section.region or "us-east-1",
        "S3_FORCE_PATH_STYLE": "true" if section.path_style else "false",
    }
    text = heading("The site's object storage for S3 clients; the keys are not here.")
    text += "".join(f"{key}={shlex.quote(value)}\n" for key, value in settings.items())
    files = (
        OutputFile("object-storage/endpoint.env", text.encode()),
        OutputFile("object-storage/check.sh", _script(section.endpoint).encode()),
    )
    decisions = () if section.region else (_REGION,)
    return Part(files, decisions)


_REGION = Decision(
    "site.object_storage.region",
    "clients sign requests for a region and are refused where it is another",
    "ask who runs the object storage; many self-hosted ones take us-east-1",
)


def _script(endpoint: str) -> str:
    return f"""#!/bin/sh
# Shows whether the site's object storage answers from here. Needs curl; no keys.
# {HEADING}
set -eu
endpoint={shlex.quote(endpoint)}
# A server of S3 refuses a request without a signature (403), or lists buckets that are public (200).
ask() {{ curl --silent --show-error --max-time 10 --output /dev/null --write-out '%{{http_code}}' "$@"; }}
status=$(ask "$@" "$endpoint/") || {{
    echo "$endpoint cannot be reached" >&2
    exit 5
}}
case $status in
    200 | 204 | 301 | 307 | 400 | 401 | 403) echo "$endpoint answers ($status)" ;;
    *) echo "$endpoint answers $status, which no object storage does" >&2; exit 5 ;;
esac
"""
