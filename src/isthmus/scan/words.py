"""What the name of a key, flag or variable says: its words, and whether it names an image.

`proxyImage`, `--acme-http01-solver-image`, `RELATED_IMAGE_NODE` and `node.collector.imageRef` name images;
`imagePullPolicy` and `OPERATOR_METRICS_IMAGE_INFO_ENABLED` do not. Not here: judging values (`recognise`).
"""

import re
from functools import lru_cache

MAX_NAME = 200
"""Characters; what is longer is no name, and is not kept in memory."""
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


# After `image`, these say that the value is something about an image and not its name.
_ABOUT = _set("""
    pull pullpolicy policy secret secrets tag tags version versions registry registries repository repositories
    repo digest format size type types gc scan scanning cache info enabled enable disabled list lists verify
    verification signature signatures signing update updates updater job jobs webhook service namespace
    credentials credential auth timeout interval prefix suffix path dir directory file files mode limit count
    cleanup prune puller awaiter
    id ids user host port key keys class storage threshold high low minimum maximum age volume
    volumes arch platform os architecture automation reflector provider layer layers layout config data date
    time space stream streams mirror mirrors width height preview content
    allow allowed deny denied exempt exempted exclude excluded
""")
_NAMING = _set("name ref reference uri url full spec")
POLICY_WORDS = _set("""
    allow allowed deny denied exempt exempted exclude excluded excludes ignore ignored skip trusted untrusted
    block blocked approved forbidden permitted allowlist denylist whitelist blacklist
""")
# Before `image`, these speak of pictures and disks, or of lists that only compare.
_OTHER = POLICY_WORDS | _set("""
    disk os vm iso machine ami boot logo icon favicon background banner kernel initrd qcow cloud cover avatar user
""")


def words(name: str) -> tuple[str, ...]:
    """The words of a name in any of the usual spellings, in lowercase."""
    return _words(name[:MAX_NAME])


def names_image(name: str) -> bool:
    """Whether the value under this name is meant to be the name of an image."""
    return len(name) <= MAX_NAME and _names_image(name)


def is_policy(name: str) -> bool:
    """Whether the name says that its values are compared with, such as an allow-list."""
    return len(name) <= MAX_NAME and _is_policy(name)


@lru_cache(maxsize=65536)
def _is_policy(name: str) -> bool:
    return any(word in POLICY_WORDS for word in _words(name))


@lru_cache(maxsize=65536)
def _words(name: str) -> tuple[str, ...]:
    return tuple(word.lower() for word in _WORD.findall(name))


@lru_cache(maxsize=65536)
def _names_image(name: str) -> bool:
    parts = _words(name)
    if parts[:2] == ("related", "image"):  # the convention of OLM, whatever follows
        return True
    for index, word in enumerate(parts):
        if word not in ("image", "images", "dockerimage", "baseimage", "containerimage"):
            continue
        if index and parts[index - 1] in _OTHER:
            return False
        rest = parts[index + 1 :]
        if not rest or all(part in _NAMING or part.isdigit() for part in rest):
            return True
        # RELATED_IMAGE_CEPH_CSI, DEFAULT_IMAGE_NGINX: the image of what follows.
        return not any(part in _ABOUT for part in rest)
    return False


def is_for_windows(name: str) -> bool:
    """Whether a flag or variable is about Windows nodes only."""
    return bool({"win", "windows", "nanoserver", "servercore"} & set(words(name)))


def looks_secret(name: str) -> bool:
    """Whether the value under this name must not be shown."""
    return bool(
        {"password", "passwd", "token", "secret", "apikey", "credential", "credentials"} & set(words(name))
    )
