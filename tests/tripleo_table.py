"""A small table of a deployment's images, and defaults for it, in the form of tripleo-common's files."""

from __future__ import annotations

from pathlib import Path

TABLE = """\
container_images_template:
{% for name, parameters, services in [
  ('neutron-metadata-agent', ['ContainerNeutronMetadataImage'], ['NeutronMetadataAgent']),
  ('neutron-server', ['ContainerNeutronApiImage', 'ContainerNeutronConfigImage'], ['NeutronApi']),
  ('nova-api', ['ContainerNovaApiImage', 'ContainerNovaConfigImage'], ['NovaApi']),
  ('nova-compute', ['ContainerNovaComputeImage'], ['NovaCompute']),
] %}
- imagename: "{{namespace}}/{{name_prefix}}{{name}}{{name_suffix}}:{{tag}}"
  image_source: tripleo
  params: {{parameters}}
  services: [{% for service in services %}'OS::TripleO::Services::{{service}}', {% endfor %}]
{% endfor %}
{% if neutron_driver == "ovn" %}
- imagename: "{{namespace}}/{{name_prefix}}neutron-server-ovn{{name_suffix}}:{{tag}}"
  image_source: kolla
  params: [ContainerNeutronConfigImage]
  services: ['OS::TripleO::Services::NeutronApi']
{% endif %}
{% if ceph_images | default(true) %}
{% include 'ceph.j2' %}
{% endif %}
"""
CEPH = """
- imagename: "{{ceph_namespace}}/{{ceph_image}}:{{ceph_tag}}"
  image_source: ceph
  params: [ContainerCephDaemonImage]
  services: ['OS::TripleO::Services::CephMon']
"""
DEFAULTS = """\
parameter_defaults:
  ContainerImagePrepare:
  - tag_from_label: rdo_version
    set:
      namespace: docker.io/tripleomaster
      name_prefix: centos-binary-
      name_suffix: ''
      tag: current-tripleo
      neutron_driver: null
      ceph_namespace: docker.io/ceph
      ceph_image: daemon
      ceph_tag: 4.10
"""
#: What the table has with these defaults
NAMES = ("neutron-metadata-agent", "neutron-server", "nova-api", "nova-compute", "neutron-server-ovn")


def write(directory: Path) -> list[str]:
    """Write the files; the options that name them."""
    (directory / "table.yaml.j2").write_text(TABLE)
    (directory / "ceph.j2").write_text(CEPH)
    (directory / "defaults.yaml").write_text(DEFAULTS)
    return ["--template", str(directory / "table.yaml.j2"), "--defaults", str(directory / "defaults.yaml")]
