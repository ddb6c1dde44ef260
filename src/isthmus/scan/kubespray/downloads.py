"""From Kubespray's `downloads` table to references: images, and files with their checksums.

Not here: variables and their evaluation.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from isthmus.errors import UsageError
from isthmus.inventory.model import Finding, Item, Ref, When
from isthmus.oci import Reference
from isthmus.scan.kubespray.templating import EvaluationError, Variables, is_true

RULE = "kubespray-download"
KUBEADM_IMAGES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
"""What kubeadm pulls on its own, from `kube_image_repo`; etcd, CoreDNS and pause are in the table."""
OBJECT = "roles/kubespray_defaults"


def downloads(
    raw: Mapping[str, Any], variables: Variables, label: str, platform: str, everything: bool
) -> Iterator[Ref | Item]:
    """Every enabled entry of the table, with `everything` the others as conditional, and kubeadm's images."""
    table = raw.get("downloads")
    if not isinstance(table, dict):
        yield Item("downloads", "the checkout defines no table of downloads", _finding(label, "downloads"))
        table = {}
    for name, entry in table.items():
        if isinstance(entry, dict):
            yield from _entry(name, entry, variables, label, platform, everything)
    names = list(KUBEADM_IMAGES)
    try:
        if is_true(variables.evaluate("{{ kube_proxy_deployed | default(true) }}")):
            names.append("kube-proxy")
    except EvaluationError:
        names.append("kube-proxy")
    for name in names:
        yield from _image(
            "{{ kubeadm_image_repo | default(kube_image_repo) }}/" + name,
            "v{{ kube_version | regex_replace('^v', '') }}",
            variables, _finding(label, name, note="pulled by kubeadm"), platform,
        )  # fmt: skip


def _entry(
    name: str, entry: Mapping[str, Any], variables: Variables, label: str, platform: str, everything: bool
) -> Iterator[Ref | Item]:
    finding = _finding(label, name)
    try:
        enabled = is_true(variables.evaluate(entry.get("enabled", False)))
        is_image = is_true(variables.evaluate(entry.get("container", False)))
        is_file = is_true(variables.evaluate(entry.get("file", False)))
    except EvaluationError as problem:
        yield Item(f"download {name}", f"whether it is enabled cannot be told: {problem}", finding)
        return
    if not enabled and not everything:
        return
    when: When = "always" if enabled else "conditional"
    note = "" if enabled else "not enabled by the inventory"
    finding = _finding(label, name, when=when, note=note)
    found: list[Ref | Item] = []
    if is_image:
        found.extend(_image(entry.get("repo"), entry.get("tag"), variables, finding, platform))
    if is_file:
        found.extend(_file(entry, variables, finding))
    # What is off may be of another version of Kubernetes than the inventory's, and have no value at all.
    yield from (thing for thing in found if enabled or isinstance(thing, Ref))


def _image(repo: Any, tag: Any, variables: Variables, finding: Finding, platform: str) -> Iterator[Ref | Item]:
    try:
        written = f"{variables.evaluate(repo)}:{variables.evaluate(tag)}"
        name = str(Reference.parse(written))
    except (EvaluationError, UsageError) as problem:
        yield Item(f"image of {finding.path}", f"its name cannot be told: {problem}", finding)
        return
    yield Ref("image", name, as_written=(written,), platforms=(platform,), findings=(finding,))


def _file(entry: Mapping[str, Any], variables: Variables, finding: Finding) -> Iterator[Ref | Item]:
    try:
        url = str(variables.evaluate(entry.get("url")))
    except EvaluationError as problem:
        yield Item(f"file of {finding.path}", f"its address cannot be told: {problem}", finding)
        return
    if not url.startswith(("http://", "https://")):
        yield Item(f"file of {finding.path}", f"its address is no URL: {url[:300]!r}", finding)
        return
    try:
        checksum = _checksum(variables.evaluate(entry.get("checksum") or entry.get("sha256") or ""))
    except EvaluationError as problem:
        # Kubespray itself would fail here: it knows no checksum of this version and machine.
        yield Item(f"file of {finding.path}", f"the checkout has no checksum for it: {problem}", finding)
        checksum = ""
    note = "; ".join(part for part in (finding.note, checksum) if part)
    finding = _finding(finding.source, finding.path, when=finding.when, note=note)
    yield Ref("file", url, as_written=(url,), findings=(finding,))


def _checksum(value: Any) -> str:
    """With its algorithm, which older versions of Kubespray leave out; 0 is theirs for none."""
    text = str(value or "")
    return f"sha256:{text}" if len(text) == 64 else text.strip("0")


def _finding(label: str, name: str, when: When = "always", note: str = "") -> Finding:
    path = name if name.startswith(".") else f".downloads.{name}"
    return Finding(source=label, object=OBJECT, path=path, rule=RULE, when=when, note=note)
