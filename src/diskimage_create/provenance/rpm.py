"""The packages of an image of the redhat family, from rpm's database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from diskimage_create.provenance.licences import Licences
from diskimage_create.provenance.model import Component
from diskimage_create.validate.system.inventory import rpm_packages as installed

# Tags of an rpm header (rpm's rpmtag.h)
_NAME, _VERSION, _RELEASE, _EPOCH, _VENDOR, _LICENCE, _URL, _ARCH, _SOURCE = (
    *(1000, 1001, 1002, 1003),
    *(1011, 1014, 1020, 1022, 1044),
)


def rpm_packages(headers: Iterable[bytes], system: Mapping[str, str], licences: Licences) -> Iterator[Component]:
    """Every installed package.

    :param headers: as the database holds them
    :param system: what os-release says
    :raises Unavailable: a header makes no sense
    """
    from packageurl import PackageURL

    namespace = system.get("ID") or "redhat"
    distro = f"{namespace}-{system.get('VERSION_ID') or 'unknown'}"
    for tags in installed(headers):
        name, epoch, source = tags.get(_NAME, ""), tags.get(_EPOCH, ""), tags.get(_SOURCE, "")
        if not name:  # nothing that could be named
            continue
        version = f"{tags.get(_VERSION, '')}-{tags.get(_RELEASE, '')}"
        qualifiers = {"arch": tags.get(_ARCH, ""), "distro": distro, "epoch": epoch, "upstream": source}
        yield Component(
            PackageURL("rpm", namespace, name, version, qualifiers).to_string(),
            name,
            f"{epoch}:{version}" if epoch else version,
            tags.get(_ARCH, ""),
            supplier=tags.get(_VENDOR, ""),
            source=source,
            licence=licences.of_expression(tags.get(_LICENCE, "")),
            homepage=tags.get(_URL, ""),
        )
