"""`ck8s/`: the override files of Compliant Kubernetes for this site, and everything in them that is still open.

Copy them to CK8S_CONFIG_PATH. Nothing there is touched from here, and secrets are brought in by scripts that read
them where they are. Not here: single settings.
"""

from collections.abc import Iterator
from typing import Any

from isthmus.scan.yaml_reader import parse_all
from isthmus.site.ck8s import platform, policies, programs, receivers
from isthmus.site.ck8s.composed import CLUSTERS, Composed, compose, former_text, is_wanted
from isthmus.site.ck8s.explain import what_to_write
from isthmus.site.ck8s.overrides import override_text
from isthmus.site.ck8s.placeholders import placeholders
from isthmus.site.ck8s.schema import violations
from isthmus.site.ck8s.scripts import scripts
from isthmus.site.ck8s.setting import FILES, File, Setting
from isthmus.site.output import OutputFile
from isthmus.site.plan import Decision, Part, Site


def configure(site: Site) -> Part:
    """The three override files and the scripts; nothing where the site has no Compliant Kubernetes."""
    if not is_wanted(site):
        return Part(notes=("ck8s: not written, as isthmus.yaml has neither site.ck8s nor a source ck8s:",))
    composed = compose(site)
    wanted = tuple(_settings(site, composed))
    texts = {file: _text(file, wanted, composed, site) for file in FILES}
    files = [OutputFile(f"ck8s/{file}-config.yaml", text.encode()) for file, text in texts.items()]
    files += scripts(site)
    decisions = [*programs.decisions(site), *policies.decisions(site), *receivers.decisions(site)]
    notes = []
    if composed is not None:
        decisions += open_values(composed, texts)
    else:
        notes.append("ck8s: not checked against the schema, as no checkout is known (site.ck8s.checkout)")
    return Part(tuple(files), tuple(dict.fromkeys(decisions)), tuple(notes))


def check(site: Site, directory: str = "") -> tuple[Decision, ...]:
    """What is open in the configuration as it is, or with the override files of `directory`.

    Without a checkout there is nothing to compose, which is a decision of its own.
    """
    composed = compose(site)
    if composed is None:
        why = "the configuration cannot be composed and checked without the checkout"
        return (Decision("site.ck8s.checkout", why, "compliantkubernetes-apps, at the version of the site"),)
    texts = {file: former_text(directory, file) if directory else composed.former(file) for file in FILES}
    return tuple(open_values(composed, texts))


def open_values(composed: Composed, texts: dict[File, str]) -> Iterator[Decision]:
    """Every placeholder of both merged configurations, and everything that their schema does not allow."""
    overrides: dict[File, dict[str, Any]] = {file: _parsed(text, file) for file, text in texts.items()}
    seen: set[tuple[str, str]] = set()
    for cluster in CLUSTERS:
        configuration = composed.cluster(cluster, overrides)
        for found in placeholders(configuration):
            if (found.key, "") not in seen:
                seen.add((found.key, ""))
                yield _open(found.key, f"{found.text[:60]} is still there", _file_of(found.key, cluster, composed))
        for key, complaint in violations(composed.checkout, configuration):
            if (key, complaint) not in seen and "set-me" not in complaint:
                seen.add((key, complaint))
                yield _open(key, complaint, _file_of(key, cluster, composed))


def _open(key: str, why: str, file: File) -> Decision:
    return Decision(key.lstrip("."), why, what_to_write(key, file), f"{file}-config.yaml")


def _file_of(key: str, cluster: str, composed: Composed) -> File:
    """The file where the top of a key's path belongs: common where the common defaults have it."""
    value: Any = composed.below("common")
    for part in key.replace("[", ".[").strip(".").split("."):
        name = part.strip('"')
        if not isinstance(value, dict):
            break
        if name not in value:
            return "sc" if cluster == "sc" else "wc"
        value = value[name]
    return "common"


def _settings(site: Site, composed: Composed | None) -> Iterator[Setting]:
    configuration = composed.cluster("sc", {}) if composed is not None else {}
    yield from platform.settings(site, configuration)
    yield from programs.settings(site)
    yield from policies.settings(site)
    yield from receivers.settings(site)
    for file, values in sorted(site.config.site.ck8s.values.items()):
        name: File | None = next((known for known in FILES if known == file), None)
        if name is not None:
            yield from _flat(name, values, ())


def _flat(file: File, values: dict[str, Any], path: tuple[str, ...]) -> Iterator[Setting]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(file, value, (*path, key))
        else:
            yield Setting(file, (*path, key), value)


def _text(file: File, wanted: tuple[Setting, ...], composed: Composed | None, site: Site) -> str:
    former = composed.former(file) if composed else former_text(site.config.site.ck8s.config, file)
    below = composed.below(file) if composed else {}
    mine = [setting for setting in wanted if setting.file == file]
    return override_text(former, mine, below, f"{file}-config.yaml")


def _parsed(text: str, file: File) -> dict[str, Any]:
    documents = parse_all(text, f"{file}-config.yaml")
    return documents[0] if documents and isinstance(documents[0], dict) else {}
