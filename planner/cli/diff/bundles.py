"""What differs between two bundles, and how much of the new one is to be shipped to where the old one is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from specs.artefact import Segment
from specs.diff import ArtefactChange, BundleDifference, FileChange

if TYPE_CHECKING:
    from runtime.bundle import Bundle
    from specs.manifest import BundledArtefact


def compare_bundles(old: Bundle, new: Bundle) -> BundleDifference:
    """By the digests of both manifests, which hold: bundles are opened only then."""
    before, after = old.manifest.files, new.manifest.files
    sizes = {name: (new.folder / name).stat().st_size for name in after}
    files = tuple(
        FileChange(name=name, old=before.get(name), new=after.get(name), bytes=sizes.get(name, 0))
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    )
    there = set(before.values())
    lacking = {digest: sizes[name] for name, digest in after.items() if digest not in there}
    return BundleDifference(
        artefacts=tuple(_artefacts(old, new)),
        files=files,
        ship_bytes=sum(lacking.values()),
        total_bytes=sum(sizes.values()),
    )


def _artefacts(old: Bundle, new: Bundle) -> list[ArtefactChange]:
    before, after = ({_key(a): _address(a) for a in bundle.manifest.artefacts} for bundle in (old, new))
    return [
        ArtefactChange(
            component=key[0],
            segment=key[1],
            variant=key[2],
            backend=key[3],
            threads=key[4],
            old=before.get(key),
            new=after.get(key),
        )
        for key in dict.fromkeys((*before, *after))
        if before.get(key) != after.get(key)
    ]


def _key(a: BundledArtefact) -> tuple[str, Segment, str, str, int]:
    return a.component, a.segment, a.variant, a.backend, a.threads


def _address(a: BundledArtefact) -> str:
    return a.key or a.function
