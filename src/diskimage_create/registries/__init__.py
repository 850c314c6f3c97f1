"""Access to registries of container images: the one place that asks them, or lets skopeo copy between them.

The protocol is the OCI Distribution Specification 1.1; python-dxf speaks it.
"""

from diskimage_create.registries.access import Access, Credentials
from diskimage_create.registries.client import Manifest, Registries
from diskimage_create.registries.connections import NotFound

__all__ = ["Access", "Credentials", "Manifest", "NotFound", "Registries"]
