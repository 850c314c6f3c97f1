"""Charts of the size and shape of OpenStack-Helm: 80 of them, which name 112 images 650 times."""

from __future__ import annotations

from itertools import count, cycle, islice
from pathlib import Path

CHARTS = 80
REFERENCES = 650
DISTINCT = 112
_STANDARD = ("dep_check", "db_init", "db_sync", "ks_user", "ks_service", "ks_endpoints")
_JOB = """\
{{- if .Values.manifests.%(kind)s_%(name)s }}
{{- $envAll := . }}
{{- $mounts := .Values.pod.mounts.%(name)s.init_container }}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: %(chart)s-%(name)s
spec:
  replicas: {{ .Values.pod.replicas.%(name)s }}
  template:
    spec:
      initContainers:
{{ tuple $envAll "%(name)s" $mounts | include "helm-toolkit.snippets.kubernetes_entrypoint_init_container" | indent 8 }}
      containers:
        - name: %(chart)s-%(name)s
{{ tuple $envAll "%(name)s" | include "helm-toolkit.snippets.image" | indent 10 }}
          image: {{ .Values.images.tags.%(name)s }}
          command:
            - /tmp/%(name)s.sh
          ports:
            - containerPort: 8080
{{- end }}
"""
_SCRIPT = """\
#!/bin/bash
set -ex
COMMAND="${@:-start}"
function start () {
  exec %s --config-file /etc/%s/%s.conf
}
$COMMAND
"""


def references() -> list[str]:
    """The distinct references, in the order of their use."""
    return [f"quay.io/airshipit/image-{number}:2025.1-ubuntu_noble" for number in range(DISTINCT)]


def write(top: Path, charts: int = CHARTS, total: int = REFERENCES) -> Path:
    """Write the charts below a directory. None of them breaks a rule."""
    images = cycle(references())
    share = [total // charts + (number < total % charts) for number in range(charts)]
    for number, size in enumerate(share):
        _chart(top, f"service{number:02}", list(islice(images, size)))
    return top


def _chart(top: Path, chart: str, images: list[str]) -> None:
    keys = [*_STANDARD, *(f"part{number}" for number in range(len(images)))][: len(images)]
    files = {
        "Chart.yaml": f"apiVersion: v2\nname: {chart}\nversion: 2025.1.0\nappVersion: v1.0.0\n",
        "values.yaml": _values(chart, dict(zip(keys, images, strict=True))),
        "templates/configmap-bin.yaml": "{{- if .Values.manifests.configmap_bin }}\ndata:\n  x: |\n    y\n{{- end }}\n",
    }
    for key in keys:
        files[f"templates/deployment-{key}.yaml"] = _JOB % {"chart": chart, "name": key, "kind": "deployment"}
        files[f"templates/bin/_{key}.sh.tpl"] = _SCRIPT % (key, chart, chart)
    for name in ("tls", "apparmor", "netpol", "mariadb-operator", "gateway", "annotations"):
        files[f"values_overrides/{name}.yaml"] = f"---\nmanifests:\n  {name.replace('-', '_')}: true\n...\n"
    for name, text in files.items():
        path = top / chart / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _values(chart: str, images: dict[str, str]) -> str:
    """About 800 lines: what is not about images is most of it."""
    lines = ["# Default values", "---", "release_group: null", "images:", "  tags:"]
    lines += [f"    {key}: {text}" for key, text in images.items()]
    lines += ["  pull_policy: IfNotPresent", "  local_registry:", "    active: false", "    exclude:"]
    lines += ["      - dep_check", "conf:", f"  {chart}:"]
    options = count()
    for group in ("DEFAULT", "database", "keystone_authtoken", "oslo_messaging_notifications", "policy"):
        lines.append(f"    {group}:")
        lines += [f"      option_{next(options)}: {value}" for value in ("1", "null", "true", "some text", "-1") * 12]
    lines += ["pod:", "  replicas:", *(f"    {key}: 1" for key in images), "  mounts:"]
    for key in images:
        lines += [
            f"    {key}:",
            "      init_container: null",
            f"      {key}:",
            "        volumeMounts:",
            "        volumes:",
        ]
    lines.append("  resources:")
    for key in images:
        for what in ("requests", "limits"):
            lines += [f"    {key}_{what}:", '      memory: "128Mi"', '      cpu: "100m"']
    lines += ["dependencies:", "  static:"]
    for key in images:
        lines += [f"    {key}:", "      jobs:", *(f"        - {chart}-{job}" for job in _STANDARD), "      services:"]
        lines += [f"        - endpoint: internal\n          service: service_{number}" for number in range(4)]
    lines.append("endpoints:")
    for number in range(12):
        lines += [f"  service_{number}:", f"    name: s{number}", "    hosts:", "      default: api", "    path:"]
        lines += ["      default: /v3", "    scheme:", '      default: "http"', "    port:", "      api:"]
        lines += ["        default: 80", "        public: 443"]
    lines += ["manifests:", *(f"  deployment_{key}: true" for key in images), "..."]
    return "\n".join([*lines, ""])
