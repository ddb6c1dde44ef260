"""What is contacted or fetched while the platform runs, and is no pull of the container runtime."""

from collections.abc import Callable

import pytest

from isthmus.inventory.model import Inventory

Find = Callable[[str], Inventory]


def pod(fields: str, image: str = "x/app:1") -> str:
    return (
        f"apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {{containers: [{{image: '{image}', {fields}}}]}}"
    )


def config(data: str, kind: str = "ConfigMap", field: str = "data") -> str:
    return f"apiVersion: v1\nkind: {kind}\nmetadata: {{name: c}}\n{field}:\n  " + data.replace("\n", "\n  ")


def resource(api: str, kind: str, spec: str) -> str:
    return f"apiVersion: {api}\nkind: {kind}\nmetadata: {{name: n}}\nspec: {spec}\n"


ISSUER = resource("cert-manager.io/v1", "ClusterIssuer", "{acme: {server: 'https://acme.example.org/dir'}}")
ALERTS = """alertmanager.yaml: |
  receivers:
  - name: a
    slack_configs: [{api_url: 'https://hooks.slack.com/services/T0/B0/secret'}]
  - name: b
    opsgenie_configs: [{api_url: 'https://api.eu.opsgenie.com/'}]
  - name: c
    pagerduty_configs: [{routing_key: x}]
  - name: d
    webhook_configs: [{url: 'http://am.monitoring.svc:9093/x'}]"""
DEX = """config.yaml: |
  issuer: https://dex.site.internal
  connectors:
  - {type: github, config: {clientID: x}}
  - {type: oidc, config: {issuer: 'https://idp.example.dev/realms/x'}}"""
GRAFANA = "grafana.ini: |\n  [analytics]\n  check_for_updates = true\n  reporting_enabled = false\n"
VERIFY = "{rules: [{verifyImages: [{attestors: [{entries: [{keyless: {subject: x}}]}]}]}]}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ISSUER, {("https://acme.example.org/dir", "acme")}),
        (
            config(ALERTS, "Secret", "stringData"),
            {
                ("https://hooks.slack.com/", "alerts-slack"),
                ("https://api.eu.opsgenie.com/", "alerts-opsgenie"),
                ("https://events.pagerduty.com/v2/enqueue", "alerts-pagerduty"),
            },
        ),
        (
            resource(
                "monitoring.coreos.com/v1alpha1", "AlertmanagerConfig", "{receivers: [{opsgenieConfigs: [{}]}]}"
            ),
            {("https://api.opsgenie.com/", "alerts-opsgenie")},
        ),
        (
            pod("env: [{name: SLACK_WEBHOOKURL, value: 'https://hooks.slack.com/services/x'}]"),
            {("https://hooks.slack.com/", "alerts-slack")},
        ),
        (
            config(DEX),
            {
                ("https://github.com/", "identity-provider"),
                ("https://idp.example.dev/realms/x", "identity-provider"),
            },
        ),
        (
            pod("args: ['--oidc-issuer-url=https://login.corp.io/x?secret=1']"),
            {("https://login.corp.io/x", "identity-provider")},
        ),
        (
            config("chrony.conf: |\n  pool 2.debian.pool.ntp.org iburst\n  server ntp.site.internal"),
            {("ntp://2.debian.pool.ntp.org", "time")},
        ),
        (pod("args: ['--ntp-server=time.cloudflare.com']"), {("ntp://time.cloudflare.com", "time")}),
        (
            pod("env: [{name: ARTIFACT_HUB_API, value: 'https://artifacthub.io/'}]"),
            {("https://artifacthub.io/", "tekton-hub")},
        ),
        (
            config('default-url: "https://github.com/tektoncd/catalog.git"\ndefault-revision: "main"'),
            {("https://github.com/tektoncd/catalog.git", "git-resolver")},
        ),
        (
            resource(
                "tekton.dev/v1",
                "Pipeline",
                "{tasks: [{taskRef: {resolver: hub, params: [{name: name, value: x}]}}]}",
            ),
            {("https://artifacthub.io/", "tekton-hub")},
        ),
        (
            resource(
                "source.toolkit.fluxcd.io/v1", "GitRepository", "{url: 'https://user:pw@git.example.dev/a/b'}"
            ),
            {("https://git.example.dev/a/b", "git")},
        ),
        (
            resource("source.toolkit.fluxcd.io/v1", "HelmRepository", "{url: 'https://charts.example.dev'}"),
            {("https://charts.example.dev", "chart-repository")},
        ),
        (
            pod("command: [sh, -c, 'apk add --no-cache curl && pip install x']"),
            {("https://dl-cdn.alpinelinux.org/", "packages-apk"), ("https://pypi.org/", "packages-pip")},
        ),
        (
            pod("command: [sh, -c, 'git clone --depth 1 https://git.example.dev/a/b.git']"),
            {("https://git.example.dev/a/b.git", "git")},
        ),
        (
            pod("command: [sh, -c, 'curl -s https://api.example.dev/v1/status']"),
            {("https://api.example.dev/v1/status", "download")},
        ),
        (
            pod("env: [{name: PEER_URL, value: 'https://saas.example.dev/x'}]"),
            {("https://saas.example.dev/x", "unknown")},
        ),
        (pod("env: [{name: PEER_URL, value: 'http://app.monitoring:9090/x'}]"), set()),
        (config(GRAFANA), {("https://grafana.com/", "update-check")}),
        (resource("kyverno.io/v1", "ClusterPolicy", VERIFY), {("https://rekor.sigstore.dev", "transparency-log")}),
        (
            resource("kyverno.io/v1", "ClusterPolicy", VERIFY.replace("subject: x", "rekor: {ignoreTlog: true}")),
            set(),
        ),
    ],
)
def test_endpoints(find: Find, text: str, expected: set[tuple[str, str]]) -> None:
    endpoints = find(text).endpoints
    assert {(endpoint.url, endpoint.purpose) for endpoint in endpoints} == expected
    assert all(endpoint.advice and endpoint.findings for endpoint in endpoints)


FALCOCTL = """falcoctl.yaml: |
  artifact:
    install: {refs: ['falco-rules:4', 'ghcr.io/falcosecurity/plugins/plugin/container:0.3.1', 'k8smeta:0.3.0']}
    follow: {refs: ['falco-rules:4']}
  indexes: [{name: falcosecurity, url: 'https://falcosecurity.github.io/falcoctl/index.yaml'}]"""


def test_falcoctl(find: Find) -> None:
    found = find(config(FALCOCTL))
    assert {(ref.kind, ref.name) for ref in found.references} == {
        ("artifact", "ghcr.io/falcosecurity/rules/falco-rules:4"),
        ("artifact", "ghcr.io/falcosecurity/plugins/plugin/container:0.3.1"),
        ("artifact", "ghcr.io/falcosecurity/plugins/plugin/k8smeta:0.3.0"),
    }
    assert all("mirrors do not reach" in ref.findings[0].note for ref in found.references)
    assert [endpoint.purpose for endpoint in found.endpoints] == ["falcoctl-index"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (config('trivy.dbRepository: "mirror.gcr.io/aquasec/trivy-db"'), {"mirror.gcr.io/aquasec/trivy-db:2"}),
        (config('trivy.javaDbRepository: "r.io/trivy-java-db"'), {"r.io/trivy-java-db:1"}),
        (
            config('policies.bundle.oci.ref: "mirror.gcr.io/aquasec/trivy-checks:1"'),
            {"mirror.gcr.io/aquasec/trivy-checks:1"},
        ),
        (pod("env: [{name: TRIVY_DB_REPOSITORY, value: 'r.io/db:2,s.io/db:2'}]"), {"r.io/db:2", "s.io/db:2"}),
        (
            pod("args: [image, --db-repository, 'ghcr.io/aquasecurity/trivy-db']"),
            {"ghcr.io/aquasecurity/trivy-db:2"},
        ),
        (
            pod(
                "env: [{name: SCANNER_TRIVY_SKIP_UPDATE, value: 'true'}]",
                "docker.io/goharbor/trivy-adapter-photon:v2",
            ),
            {"mirror.gcr.io/aquasec/trivy-java-db:1"},
        ),
        (
            pod(
                "env: [{name: SCANNER_TRIVY_DB_REPOSITORY, value: 'r.io/db'}, "
                "{name: SCANNER_TRIVY_SKIP_JAVA_DB_UPDATE, value: 'true'}]",
                "docker.io/goharbor/trivy-adapter-photon:v2",
            ),
            {"r.io/db:2"},
        ),
    ],
)
def test_trivy(find: Find, text: str, expected: set[str]) -> None:
    found = {ref.name for ref in find(text).references if ref.kind == "artifact" and ref.when == "always"}
    assert found == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            pod("command: [sh, -c, './bin/opensearch-plugin install -b https://f.internal:8080/r.zip; exec x']"),
            "https://f.internal:8080/r.zip",
        ),
        (
            pod("command: [sh, -c, 'opensearch-plugin install --batch repository-s3']", "o/opensearch:2.19.4"),
            "https://artifacts.opensearch.org/releases/plugins/repository-s3/2.19.4/repository-s3-2.19.4.zip",
        ),
        (
            pod("command: [elasticsearch-plugin, install, analysis-icu]", "d.co/elasticsearch:8.1.0"),
            "https://artifacts.elastic.co/downloads/elasticsearch-plugins/analysis-icu/analysis-icu-8.1.0.zip",
        ),
        (
            pod("env: [{name: GF_INSTALL_PLUGINS, value: 'grafana-clock-panel 1.0.1'}]"),
            "https://grafana.com/api/plugins/grafana-clock-panel/versions/1.0.1/download",
        ),
        (
            pod("env: [{name: GF_INSTALL_PLUGINS, value: 'https://f.example.dev/p.zip;p'}]"),
            "https://f.example.dev/p.zip",
        ),
        (
            pod("command: [sh, -c, 'wget -qO- https://dl.example.dev/t.tar.gz | tar x']"),
            "https://dl.example.dev/t.tar.gz",
        ),
        (
            pod("command: [kubectl, apply, -f, 'https://raw.example.dev/crd.yaml']"),
            "https://raw.example.dev/crd.yaml",
        ),
    ],
)
def test_files(find: Find, text: str, expected: str) -> None:
    found = find(text)
    assert [ref.name for ref in found.references if ref.kind == "file"] == [expected]
    assert not found.endpoints


def test_placeholders_are_items(find: Find) -> None:
    found = find(pod("command: [sh, -c, 'opensearch-plugin install -b set-me']", "o/opensearch:2.19.4"))
    assert not [ref for ref in found.references if ref.kind == "file"]
    (item,) = found.unresolved
    assert "set-me" in item.what


def test_registries_that_policies_ask(find: Find) -> None:
    rule = "{imageReferences: ['ghcr.io/a/*', '*', 'docker.io/*'], rekor: {ignoreTlog: true}}"
    found = find(resource("kyverno.io/v1", "ClusterPolicy", f"{{rules: [{{verifyImages: [{rule}]}}]}}"))
    assert {endpoint.url for endpoint in found.endpoints} == {"https://ghcr.io/", "https://docker.io/"}
    assert not found.references


def test_gitops(find: Find) -> None:
    found = find(
        resource("source.toolkit.fluxcd.io/v1", "OCIRepository", "{url: 'oci://ghcr.io/a/b', ref: {tag: 1.0.0}}")
        + "---\n"
        + resource(
            "argoproj.io/v1alpha1",
            "Application",
            "{source: {repoURL: ghcr.io/charts, chart: app, targetRevision: 1.0.0+x}}",
        )
    )
    assert {(ref.kind, ref.name) for ref in found.references} == {
        ("artifact", "ghcr.io/a/b:1.0.0"),
        ("chart", "ghcr.io/charts/app:1.0.0_x"),
    }
    (item,) = found.unresolved
    assert "Application/n" in item.what
    assert find(resource("helm.toolkit.fluxcd.io/v2", "HelmRelease", "{chart: {spec: {chart: x}}}")).unresolved


def test_hub_and_tag(find: Find) -> None:
    values = config(
        'values: \'{"global": {"hub": "docker.io/istio", "tag": "1.24", "proxy": {"image": "proxyv2"}}}\''
    )
    assert "docker.io/istio/proxyv2:1.24" in {ref.name for ref in find(values).references if ref.is_locked}
    operator = resource("install.istio.io/v1alpha1", "IstioOperator", "{hub: docker.io/istio, tag: '1.24'}")
    assert {ref.name for ref in find(operator).references} == {
        "docker.io/istio/pilot:1.24",
        "docker.io/istio/proxyv2:1.24",
    }


def test_secrets_do_not_come_out(find: Find) -> None:
    text = pod("env: [{name: A_URL, value: 'https://me:hunter2@saas.example.dev/x?token=hunter2#hunter2'}]")
    assert "hunter2" not in repr(find(text))
    assert "hunter2" not in repr(find(config("slack_url: https://hooks.slack.com/services/hunter2")))
