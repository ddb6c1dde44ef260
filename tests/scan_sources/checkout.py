"""A checkout of compliantkubernetes-apps in miniature: the same layout and the same ways, three releases."""

from pathlib import Path

from tests.scan_sources.conftest import write_tree

ENVIRONMENTS = """\
helmDefaults:
  skipDeps: true
environments:
  {{- range $name, $short := dict "service_cluster" "sc" "workload_cluster" "wc" }}
  {{ $name }}:
    values:
      - ck8sManagementCluster: { enabled: {{ eq $short "sc" }} }
      - lists/images.yaml
      - {{ requiredEnv "CK8S_CONFIG_PATH" }}/defaults/common-config.yaml
      - {{ requiredEnv "CK8S_CONFIG_PATH" }}/defaults/{{ $short }}-config.yaml
      - {{ requiredEnv "CK8S_CONFIG_PATH" }}/common-config.yaml
      - {{ requiredEnv "CK8S_CONFIG_PATH" }}/{{ $short }}-config.yaml
    secrets:
      - {{ requiredEnv "CK8S_CONFIG_PATH" }}/secrets.yaml
  {{- end }}
"""
UPSTREAM = """\
{{- with readFile "upstream/index.yaml" | fromYaml | get "charts" dict }}
templates:
  {{- range $chart, $version := . }}
  {{ regexSplit "/" $chart -1 | last }}-chart:
    chart: upstream/{{ $chart }}
    version: {{ $version }}
  {{- end }}
{{- end }}
"""
STACK = """\
---
templates:
  web-common:
    namespace: web
    values:
      - values/web/common.yaml.gotmpl
  web-main:
    inherit: [ template: web-common, template: web-chart ]
    installed: {{ .Values | get "web.enabled" false }}
    name: web
    hooks:
      - events: [presync]
        command: hooks/apply.sh
        args: ["{{ .Environment.Name }}", extra.yaml]
    values:
      - replicas: 2
  web-off:
    inherit: [ template: web-main ]
    name: web-off
    condition: extras.enabled
  web-service:
    inherit: [ template: web-common, template: web-chart ]
    condition: ck8sManagementCluster.enabled
    name: web-service
"""
STATE = """\
---
bases: [bases/environments.yaml.gotmpl, bases/upstream.yaml.gotmpl]
---
bases: [stacks/web.yaml.gotmpl]
---
releases:
  - inherit: [ template: web-main ]
  - inherit: [ template: web-off ]
  - inherit: [ template: web-service ]
  {{- range .Values | get "clusterApi.clusters" list }}
  - inherit: [ template: web-main ]
    name: web-{{ . }}
    set: [{name: image.tag, value: {{ . | quote }}}]
  {{- end }}
"""
VALUES = """\
{{- if eq .Values.web.replicas 0 }}{{ fail "no replicas" }}{{ end }}
{{- $image := include "uri.parse" .Values.images.web.main | fromJson }}
image: {{ $image | toJson }}
release: {{ .Release.Namespace }}/{{ .Release.Name }}
sealed: {{ .Values.web.password | quote }}
none: {{ .Values.web | getOrNil "nothing.at.all" | default "none" }}
"""
HELPERS = """\
{{- define "uri.parse" -}}
{{- $parts := regexSplit ":" . -1 -}}
{{ dict "repository" (first $parts) "tag" (last $parts) | toJson }}
{{- end }}
"""
CHART_POD = """\
apiVersion: v1
kind: Pod
metadata: {name: {{ .Release.Name }}, annotations: {values: {{ .Values | toJson | quote }}}}
spec:
  containers: [{name: main, image: "{{ .Values.image.repository }}:{{ .Values.image.tag }}"}]
"""
FILES = {
    "REQUIREMENTS": "pkg:generic/kubectl@v1.31.4\n",
    "bin/init.bash": 'yq --inplace ".web.password= \\"$(pwgen -cns 20 1)\\"" "${tmpfile}"\n',
    "config/common-config.yaml": (
        "web: {enabled: true, replicas: 1, list: [a, b], name: '${CK8S_ENVIRONMENT_NAME}-web'}\n"
    ),
    "config/sc-config.yaml": "clusterApi: {clusters: [one]}\n",
    "config/wc-config.yaml": "{}\n",
    "config/flavors/air-gapped/common-config.yaml": "web: {list: [c]}\nmirror: set-me\n",
    "config/flavors/prod/common-config.yaml": "web: {enabled: false}\n",
    "config/k8s-installers/kubespray/common-config.yaml": "web: {replicas: 2}\n",
    "config/k8s-installers/capi/common-config.yaml": "{}\n",
    "config/providers/baremetal/common-config.yaml": "web: {replicas: 3}\n",
    "config/secrets.yaml": "web: {password: somelongsecret}\n",
    "helmfile.d/bases/environments.yaml.gotmpl": ENVIRONMENTS,
    "helmfile.d/bases/upstream.yaml.gotmpl": UPSTREAM,
    "helmfile.d/stacks/web.yaml.gotmpl": STACK,
    "helmfile.d/state.yaml.gotmpl": STATE,
    "helmfile.d/lists/images.yaml": (
        "images:\n  web: {main: 'ghcr.io/x/web:1.0', other: 'quay.io/x/other:2.0', begin: 'ghcr.io/x/we:1'}\n"
        "  global: {registry: {enabled: false, uri: set-me}}\n"
    ),
    "helmfile.d/upstream/index.yaml": "charts:\n  x/web: 0.1.0\n",
    "helmfile.d/upstream/x/web/Chart.yaml": "apiVersion: v2\nname: web\nversion: 0.1.0\n",
    "helmfile.d/upstream/x/web/templates/pod.yaml": CHART_POD,
    "helmfile.d/values/_helpers.tpl": HELPERS,
    "helmfile.d/values/web/common.yaml.gotmpl": VALUES,
    "helmfile.d/hooks/extra.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\n",
}


def make_checkout(root: Path, changes: dict[str, str] | None = None) -> Path:
    """Write the checkout with some files changed, and the link to the helpers that the real one has."""
    write_tree(root, FILES | (changes or {}))
    (root / "helmfile.d/values/web/_helpers.tpl").symlink_to("../_helpers.tpl")
    return root
