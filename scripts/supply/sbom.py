"""The lists of parts, for whoever has to answer "are we hit?": deploy/sbom/*.cdx.json, CycloneDX.

Made from deploy/lock/ and from what each package says of itself in .venv/. No clock and no random
number: the same locks give the same bytes. Libraries that a package brings inside (libjpeg-turbo in
pillow, OpenSSL in cryptography) are not listed: their own lists lie in those packages.
"""

import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.dependency import Dependency
from cyclonedx.model.license import License, LicenseAcknowledgement
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.spdx import fixup_id, is_expression
from packageurl import PackageURL

import relay
from scripts.supply import locks

LISTS = {"server": "what a relay installs", "desk": "what a desk laptop installs"}
_US = "poster-relay"
_CLASSIFIER = "License :: "
# Words in use that mean one licence and no other.
_PLAIN = {"MIT License": "MIT", "Apache License 2.0": "Apache-2.0"}


def write_all(root: Path) -> None:
    """Write every list.

    Raises:
        Unlike: as `render`.
    """
    for name in LISTS:
        path_of(root, name).write_text(render(root, name))


def check(root: Path) -> list[str]:
    """Say which lists are not what the locks give; nothing if all are."""
    return [
        f"{path_of(root, name).relative_to(root)} is not current: "
        ".venv/bin/python -m scripts.supply sbom"
        for name in LISTS
        if not path_of(root, name).is_file()
        or path_of(root, name).read_text() != render(root, name)
    ]


def path_of(root: Path, name: str) -> Path:
    """Where a list stands."""
    return root / f"deploy/sbom/{name}.cdx.json"


def render(root: Path, name: str) -> str:
    """Write a list as CycloneDX 1.6 JSON.

    Raises:
        Unlike: a package of the lock is not in .venv/, or names no licence.
    """
    pins = locks.read_locks(root)[name]
    whole = Component(
        name=_US,
        version=relay.__version__,
        description=LISTS[name],
        type=ComponentType.APPLICATION,
        bom_ref=_US,
        licenses=[_licence_of(_US)],
    )
    parts = {pin.name: _describe(pin) for pin in pins}
    bom = Bom(components=parts.values())
    bom.metadata.component = whole
    references = {"": whole.bom_ref, **{name: part.bom_ref for name, part in parts.items()}}
    bom.dependencies = [
        Dependency(references[asking], [Dependency(references[one]) for one in asked])
        for asking, asked in _edges(root, name, pins).items()
    ]
    written = json.loads(JsonV1Dot6(bom).output_as_string())
    del written["serialNumber"], written["metadata"]["timestamp"]
    return json.dumps(written, indent=1, sort_keys=True) + "\n"


def _edges(root: Path, name: str, pins: tuple[locks.Pin, ...]) -> Mapping[str, set[str]]:
    """Who asks for whom, on any machine that the lock is for."""
    edges: dict[str, set[str]] = {}
    for environment in locks.environments():
        reached = locks.reach(locks.read_direct(root)[name], environment, locks.asked_for(pins))
        for asking, asked in reached.items():
            edges.setdefault(asking, set()).update(asked)
    return edges


def _describe(pin: locks.Pin) -> Component:
    address = PackageURL(type="pypi", name=pin.name, version=pin.version)
    files = ExternalReference(
        type=ExternalReferenceType.DISTRIBUTION,
        url=XsUri(address.to_string()),
        comment="the files that the lock accepts, one of which is installed",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=one) for one in pin.hashes],
    )
    return Component(
        name=pin.name,
        version=pin.version,
        type=ComponentType.LIBRARY,
        bom_ref=address.to_string(),
        purl=address,
        licenses=[_licence_of(pin.name)],
        external_references=[files],
    )


def _licence_of(name: str) -> License:
    """Read what a package declares: an SPDX expression where it gives one, else its own words."""
    try:
        about = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError as error:
        raise locks.Unlike(f".venv/ lacks {name}: scripts/setup test") from error
    factory = LicenseFactory()
    declared = LicenseAcknowledgement.DECLARED
    for field in ("License-Expression", "License"):
        words = about[field] or ""
        if words and (fixup_id(words) or is_expression(words)):
            return factory.make_from_string(words, license_acknowledgement=declared)
        if words in _PLAIN:
            return factory.make_with_id(_PLAIN[words], acknowledgement=declared)
    for classifier in about.get_all("Classifier") or ():
        if classifier.startswith(_CLASSIFIER):
            words = classifier.rpartition(" :: ")[2]
            if words in _PLAIN:
                return factory.make_with_id(_PLAIN[words], acknowledgement=declared)
            return factory.make_with_name(words, acknowledgement=declared)
    words = about["License"] or ""
    if words and len(words.splitlines()) == 1:
        return factory.make_with_name(words, acknowledgement=declared)
    raise locks.Unlike(f"{name} {about['Version']} names no licence")
