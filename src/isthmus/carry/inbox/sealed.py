"""Encrypted volumes in an incoming directory: which belong together, and taking them.

Which bundle a file is of shows only to whoever can open it. What no identity opens is no damage and stays: it is
said once for all files of a directory that are numbered alike. Not here: decrypting (`bundle.encryption`).
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, Final, cast

import msgspec

from isthmus.bundle import BundleManifest, unpack_stream, verify_stream
from isthmus.bundle.approval import beside
from isthmus.bundle.encryption import DecryptedSource
from isthmus.bundle.layout import HEADER_SIZE, Header, parse_header
from isthmus.bundle.parity import geometry_of
from isthmus.bundle.streaming import StreamFile, start_stream
from isthmus.carry.inbox.look import WAITS, Arrived, Look
from isthmus.carry.inbox.remembered import Remembered, Waiting
from isthmus.errors import IncompleteError, IsthmusError, UnreachableError, VerificationError

SUFFIX: Final = ".isv.age"
_NUMBERED: Final = re.compile(r"(.+)-([0-9]{4,9})\.isv\.age")
_KEY: Final = ".age"
"""Behind the bundle's id where it is remembered: the same bundle may lie there without encryption, too."""

_Series = tuple[Path, str]
"""A directory, and what stands before the number in the names of files in it."""


def sealed_bundles(
    files: Mapping[str, Path], identities: Mapping[str, str], remembered: Remembered, look: Look
) -> list[Arrived]:
    """Encrypted volumes by the bundle that they belong to; what cannot be opened waits, or goes to quarantine.

    What was opened before, and has not changed (`identities` of files), is not opened again to find that out.
    """
    known = _remembered(remembered, look)
    groups: dict[str, _Sealed] = {}
    shut: dict[Path, IsthmusError | None] = {}
    for name, path in files.items():
        bundle = known.get((name, identities[name]))
        if bundle is None and not look.settings.identities:
            shut[path] = None
            continue
        header: Header | None = None
        try:
            if bundle is None:
                header = _header(path, look)
                bundle = header.bundle.hex()
        except UnreachableError:
            raise
        except IsthmusError as error:
            shut[path] = error
            continue
        groups.setdefault(bundle, _Sealed(bundle, look)).add(path, header)
    by_series = {_series(path): group for group in groups.values() for path in group.paths}
    rest = {path: error for path, error in shut.items() if not _joins(by_series.get(_series(path)), path, error)}
    _tell(rest, look)
    return [
        Arrived(bundle + _KEY, bundle, tuple(group.paths), group.take)
        for bundle, group in groups.items()
    ]  # fmt: skip


class _Sealed:
    """The encrypted volumes of one bundle that are here."""

    def __init__(self, bundle: str, look: Look) -> None:
        self.bundle = bundle
        self.paths: list[Path] = []
        self._look = look
        self._headers: dict[Path, Header] = {}
        self._faults: dict[Path, IsthmusError] = {}

    def add(self, path: Path, header: Header | None = None, fault: IsthmusError | None = None) -> None:
        """One more, with what is known of it."""
        self.paths.append(path)
        if header is not None:
            self._headers[path] = header
        if fault is not None:
            self._faults[path] = fault

    def take(self) -> str | Waiting | None:
        """Unpack what is here, if that is enough: damaged files are left out where parity makes up for them."""
        self._open()
        manifest = self._manifest()
        while manifest is not None and _enough(manifest, chosen := self._chosen()):
            try:
                self._bring([path for _, path in sorted(chosen.items())])
            except IncompleteError as error:
                return self._waiting(manifest, error.message)
            except VerificationError as error:
                culprit = next((path for path in chosen.values() if str(path) == error.where), None)
                if culprit is not None and error.code in ("damaged-volume", "not-decrypted"):
                    self._faults[culprit] = error
                elif error.code in WAITS:
                    return self._waiting(manifest, error.message)
                else:
                    for path in self.paths:
                        self._look.quarantine(path, error)
                    return None
            else:
                return manifest.name
        return self._too_little(manifest)

    def _too_little(self, manifest: BundleManifest | None) -> Waiting | None:
        """What is damaged goes to quarantine; what the rest waits for.

        That other identities are needed is said and not remembered: the next run may have them.
        """
        shut = 0
        for path, fault in self._faults.items():
            if fault.code == "not-decrypted":
                shut += 1
            else:
                self._look.quarantine(path, fault)
        if shut:
            self._look.found.incomplete.append(self._waiting(manifest, _not_opened(shut)))
            return None
        return self._waiting(manifest, "") if manifest else None

    def _open(self) -> None:
        for path in self.paths:
            if path in self._headers or path in self._faults:
                continue
            try:
                self._headers[path] = header = _header(path, self._look)
                if header.bundle.hex() != self.bundle:
                    raise VerificationError("foreign-volume", "it belongs to another bundle", where=str(path))
            except VerificationError as error:
                self._faults[path] = error

    def _manifest(self) -> BundleManifest | None:
        """What the bundle holds, out of the first volume that says it."""
        for path in self._chosen().values():
            try:
                with closing(DecryptedSource([path], self._look.settings.identities)) as source:
                    _, volume, _ = start_stream(cast("BinaryIO", source), str(path), ())
                return volume.manifest
            except VerificationError as error:
                self._faults[path] = error
        return None

    def _chosen(self) -> dict[int, Path]:
        """A file for each volume, of those that nothing is wrong with so far."""
        result: dict[int, Path] = {}
        for path in sorted(self._headers.keys() - self._faults.keys()):
            result.setdefault(self._headers[path].volume, path)
        return result

    def _bring(self, paths: Sequence[Path]) -> None:
        settings, progress = self._look.settings, self._look.progress
        with closing(DecryptedSource(paths, settings.identities)) as source:
            stream = cast("BinaryIO", source)
            if settings.store is None:
                checked = verify_stream(stream, settings.keys, progress)
                if checked.damaged and (error := checked.error()):
                    raise error
                return
            approvals = (*settings.demands.approvals, *beside(paths))
            unpack_stream(
                stream, settings.store, settings.keys, progress, policy=settings.policy, durable=True,
                demands=msgspec.structs.replace(settings.demands, approvals=approvals),
            )  # fmt: skip

    def _waiting(self, manifest: BundleManifest | None, why: str) -> Waiting:
        count = len(manifest.volumes) if manifest else 0
        prefix, here = _series(self.paths[0])[1], self._chosen()
        missing = [f"{prefix}-{number:04}{SUFFIX}" for number in range(1, count + 1) if number not in here]
        return Waiting(self.bundle, manifest.name if manifest else prefix, tuple(missing), why)


def _header(path: Path, look: Look) -> Header:
    """How the volume inside begins. Raises what opening and reading it raises."""
    with closing(DecryptedSource([path], look.settings.identities)) as source:
        head = StreamFile(cast("BinaryIO", source), str(path)).at(0, HEADER_SIZE)
    try:
        return parse_header(head)
    except IsthmusError as error:
        error.at(str(path))
        raise


def _enough(manifest: BundleManifest, here: Iterable[int]) -> bool:
    """Whether these volumes hold everything, or parity for all that they do not."""
    there = set(here)
    geometry = geometry_of(manifest)
    lacking = set(range(1, len(manifest.volumes) + 1)) - there
    if geometry is None or not lacking:
        return not lacking
    data = range(1, geometry.parity.volumes + 1)
    lost = sum(column.volume in lacking for column in geometry.columns)
    rows = sum(geometry.rows_in(volume)[1] for volume in there - set(data))
    return lost <= rows


def _remembered(remembered: Remembered, look: Look) -> dict[tuple[str, str], str]:
    """Whose files they are, by name and identity of the file."""
    kept = {key: one.files for key, one in remembered.done.items() if one.store == look.store}
    if look.settings.identities:
        kept = {key: one.files for key, one in remembered.waiting.items()} | kept
    return {
        file: key.removesuffix(_KEY) for key, files in kept.items() if key.endswith(_KEY) for file in files.items()
    }


def _series(path: Path) -> _Series:
    match = _NUMBERED.fullmatch(path.name)
    return path.parent, match[1] if match else path.name.removesuffix(SUFFIX)


def _joins(group: _Sealed | None, path: Path, fault: IsthmusError | None) -> bool:
    """Count a file that does not open to the bundle whose other volumes are called like it."""
    if group is None or fault is None:
        return False
    group.add(path, fault=fault)
    return True


def _tell(shut: Mapping[Path, IsthmusError | None], look: Look) -> None:
    """Say of files that belong to nothing why that is; what is damaged goes to quarantine."""
    waiting: Counter[tuple[_Series, bool]] = Counter()
    for path, error in shut.items():
        if error is not None and error.code != "not-decrypted":
            look.quarantine(path, error)
        else:
            waiting[_series(path), error is None] += 1
    for ((place, prefix), asked), count in sorted(waiting.items()):
        why = f"{_files(count)} encrypted: needs --identity" if asked else _not_opened(count)
        look.found.incomplete.append(Waiting("", look.name(place / prefix), (), why))


def _not_opened(count: int) -> str:
    whose = "its beginning is" if count == 1 else "their beginnings are"
    return f"{_files(count)} encrypted to another identity than was given, or {whose} damaged"


def _files(count: int) -> str:
    return "a volume is" if count == 1 else f"{count} volumes are"
