"""Fetches what is not an image from the node's side, as a client would, and compares it with the lock.

`python -m isthmus.rehearse.fetching SETTINGS` in the node's namespace; writes a JSON line for each thing. Files,
charts and trees come from the file server, artifacts from the registry by their digest. Not here: images.
"""

import hashlib
import json
import sys
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote

_CHUNK = 1 << 20
_TIMEOUT = 30
_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, "
    "application/vnd.docker.distribution.manifest.v2+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json"
)


def main() -> None:
    """Fetch everything of the settings, one line each."""
    with open(sys.argv[1], encoding="utf-8") as file:
        settings = json.load(file)
    for item in settings["items"]:
        sys.stdout.write(json.dumps({"name": item["name"], "why": complaint(item)}) + "\n")
        sys.stdout.flush()


def complaint(item: dict[str, Any]) -> str:
    """What is wrong with one thing; nothing where all is there with its digest."""
    for part in item["parts"]:
        why = _fetch(part["url"], part["digest"], part.get("accept", ""))
        if why:
            return f"{part['url']}: {why}"
    return ""


def file_part(base: str, path: str, digest: str) -> dict[str, str]:
    """One file of the file server."""
    return {"url": f"{base}/{quote(path)}", "digest": digest}


def manifest_part(base: str, repository: str, digest: str) -> dict[str, str]:
    """The manifest of an artifact."""
    return {"url": f"{base}/v2/{repository}/manifests/{digest}", "digest": digest, "accept": _MANIFESTS}


def _fetch(url: str, digest: str, accept: str) -> str:
    request = urllib.request.Request(url, headers={"Accept": accept} if accept else {})  # noqa: S310  # ours
    algorithm, _, wanted = digest.partition(":")
    found = hashlib.new(algorithm)
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
            while chunk := answer.read(_CHUNK):
                found.update(chunk)
    except urllib.error.HTTPError as error:
        with error:
            return f"the server answers {error.code} {error.reason}"
    except (OSError, ValueError) as error:
        return str(error)
    return "" if found.hexdigest() == wanted else f"it has the digest {algorithm}:{found.hexdigest()}"


if __name__ == "__main__":
    main()
