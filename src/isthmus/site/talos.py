"""Talos: mirrors, trust and time as machine configuration, in both forms that Talos has had.

`machine.registries` until 1.11, documents of their own (RegistryMirrorConfig, RegistryTLSConfig) from 1.12 on.
Not here: making a whole machine configuration.
"""

import base64
from typing import Any

from isthmus.site.names import moved_decision
from isthmus.site.output import OutputFile
from isthmus.site.plan import Part, Site
from isthmus.site.text import yaml_documents, yaml_text


def configure(site: Site) -> Part:
    """`talos/patch.yaml` and `talos/documents.yaml`; apply one of them with `talosctl patch machineconfig`."""
    patch = yaml_text(
        _patch(site), "For Talos before 1.12: talosctl patch machineconfig --patch @patch.yaml --nodes NODE"
    )
    documents = yaml_documents(
        _documents(site),
        "For Talos 1.12 and later: talosctl patch machineconfig --patch @documents.yaml --nodes NODE",
    )
    files = (
        OutputFile("talos/patch.yaml", patch.encode()),
        OutputFile("talos/documents.yaml", documents.encode()),
    )
    return Part(files, moved_decision(site, "talos"))


def _endpoint(site: Site, host: str) -> tuple[str, bool]:
    prefix = site.mapping.host_prefix(host)
    return (f"{site.registry}/v2/{prefix}", True) if prefix else (site.registry, False)


def _patch(site: Site) -> dict[str, Any]:
    mirrors: dict[str, Any] = {}
    for host in site.hosts:
        url, override = _endpoint(site, host)
        mirrors[host] = {"endpoints": [url], "overridePath": override, "skipFallback": True}
    registries: dict[str, Any] = {"mirrors": mirrors}
    if site.skip_verify:
        registries["config"] = {site.registry_host: {"tls": {"insecureSkipVerify": True}}}
    elif site.ca is not None and not site.is_plain:
        registries["config"] = {site.registry_host: {"tls": {"ca": base64.b64encode(site.ca).decode()}}}
    machine: dict[str, Any] = {"registries": registries, **_time(site)}
    if site.config.site.dns.servers:
        machine["network"] = {"nameservers": list(site.config.site.dns.servers)}
    # Talos finds its members over the Internet unless it is told not to.
    return {"machine": machine, "cluster": {"discovery": {"registries": {"service": {"disabled": True}}}}}


def _time(site: Site) -> dict[str, Any]:
    servers = site.config.site.ntp.servers
    return {"time": {"servers": list(servers)}} if servers else {}


def _documents(site: Site) -> list[dict[str, Any]]:
    documents: list[dict[str, Any]] = []
    for host in site.hosts:
        url, override = _endpoint(site, host)
        endpoint: dict[str, Any] = {"url": url, **({"overridePath": True} if override else {})}
        documents.append(
            {
                "apiVersion": "v1alpha1",
                "kind": "RegistryMirrorConfig",
                "name": host,
                "endpoints": [endpoint],
                "skipFallback": True,
            }
        )
    if site.skip_verify or (site.ca is not None and not site.is_plain):
        trust: dict[str, Any] = {"apiVersion": "v1alpha1", "kind": "RegistryTLSConfig", "name": site.registry_host}
        if site.skip_verify or site.ca is None:
            trust["insecureSkipVerify"] = True
        else:
            trust["ca"] = site.ca.decode()
        documents.append(trust)
    return documents
