"""Where an image can be published, as users name it.

``docker:NAME[:TAG]``, ``podman:NAME[:TAG]``, ``oci://HOST[:PORT]/NAME[:TAG]``, ``glance:[NAME]``, ``DIRECTORY/``, and every
URL that fsspec knows.
"""

from __future__ import annotations

from typing import Protocol

from diskimage_create.publish.model import Options, Receipt
from diskimage_create.publish.source import Source


class Destination(Protocol):
    """A place for images; as text, it is what the user wrote."""

    def publish(self, source: Source, options: Options) -> Receipt:
        """Publish an image there, unless it is there already.

        :raises RemoteError: the place refuses, or fails
        """
        ...
