"""The read path of the OCI distribution-spec 1.1 over a `Catalogue`: which answer a request gets.

What changes something is handed to a `Writer`, where there is one. Nothing is ever fetched from elsewhere:
what is not there is answered so at once, and counted.
"""

from collections.abc import Awaitable, Callable
from urllib.parse import urlencode

from aiohttp import web

from isthmus.errors import IncompleteError
from isthmus.oci import Descriptor
from isthmus.oci.descriptor import OCI_INDEX
from isthmus.serve.access import CALLER, Access, Caller
from isthmus.serve.answers import RefusedError, json_answer
from isthmus.serve.catalogue import Catalogue
from isthmus.serve.misses import Misses, Wanted
from isthmus.serve.names import Names
from isthmus.serve.sending import manifest_answer, send_blob
from isthmus.serve.target import TARGET, Kind, Target, parse_target
from isthmus.serve.users import Action
from isthmus.serve.writing import Writer

_Handler = Callable[[web.Request, Target], Awaitable[web.StreamResponse]]


class RegistryApi:
    """Answers requests under `/v2/`."""

    def __init__(
        self, catalogue: Catalogue, misses: Misses, writer: Writer | None = None, access: Access | None = None
    ) -> None:
        self._catalogue = catalogue
        self._writer = writer
        self._access = access
        self._misses = misses
        self._handlers: dict[Kind, _Handler] = {
            "ping": self._ping,
            "catalog": self._catalog,
            "tags": self._tags,
            "manifests": self._manifest,
            "blobs": self._blob,
            "referrers": self._referrers,
        }

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request. Raises RefusedError, and what the store raises."""
        is_reading = request.method in ("GET", "HEAD")
        if not is_reading and self._writer is None:
            raise RefusedError(405, "UNSUPPORTED", "this registry is read-only", {"Allow": "GET, HEAD"})
        target = parse_target(request.rel_url.raw_path)
        request[TARGET] = target
        if self._access is not None:
            await self._admit(self._access, request, target, is_writing=not is_reading or target.kind == "upload")
        if self._writer is not None and (not is_reading or target.kind == "upload"):
            return await self._writer.handle(request, target)
        handler = self._handlers.get(target.kind)
        if handler is None:
            raise RefusedError(404, "BLOB_UPLOAD_UNKNOWN", "there is no such upload")
        return await handler(request, target)

    async def _admit(self, access: Access, request: web.Request, target: Target, *, is_writing: bool) -> None:
        """Raise RefusedError where the caller may not do that."""
        caller = request[CALLER] = await access.caller(request)
        if not target.name:
            access.check_someone(request, caller)
            return
        names = await self._catalogue.names()
        action: Action = "pull"
        if is_writing:
            full_name = names.home(target.name)
            is_deletion = request.method == "DELETE" and target.kind != "upload"
            action = "delete" if is_deletion else "push"
        else:
            namespace = _namespace(request)
            found = self._catalogue.repository(names, target.name, namespace)
            full_name = found or names.original(target.name, namespace)
        access.check(request, caller, target.name, full_name, action)

    async def _ping(self, _request: web.Request, _target: Target) -> web.StreamResponse:
        return json_answer({})

    async def _catalog(self, request: web.Request, _target: Target) -> web.StreamResponse:
        names = await self._catalogue.names()
        listed = names.listed
        if self._access is not None:
            caller = request[CALLER]
            listed = [name for name in listed if self._access.may_read(caller, names.home(name))]
        page, headers = _page(request, listed)
        return json_answer({"repositories": page}, headers=headers)

    async def _tags(self, request: web.Request, target: Target) -> web.StreamResponse:
        names = await self._catalogue.names()
        repository = self._catalogue.repository(names, target.name, _namespace(request))
        if repository is None:
            raise self._missed(names, request, target, "NAME_UNKNOWN")
        page, headers = _page(request, sorted(names.tags.get(repository, ())))
        return json_answer({"name": target.name, "tags": page}, headers=headers)

    async def _manifest(self, request: web.Request, target: Target) -> web.StreamResponse:
        names = await self._catalogue.names()
        repository = self._catalogue.repository(names, target.name, _namespace(request))
        if repository is None:
            raise self._missed(names, request, target, "NAME_UNKNOWN")
        digest = target.digest
        if digest is None:
            named = names.tags.get(repository, {}).get(target.tag)
            if named is None:
                raise self._missed(names, request, target, "MANIFEST_UNKNOWN")
            digest = named.digest
        elif digest not in (await self._catalogue.reach_of(names, repository, digest)).manifests:
            raise self._missed(names, request, target, "MANIFEST_UNKNOWN")
        try:
            manifest = await self._catalogue.manifest(digest)
        except IncompleteError:
            raise self._missed(names, request, target, "MANIFEST_UNKNOWN") from None
        return manifest_answer(request, manifest, by_tag=target.digest is None)

    async def _blob(self, request: web.Request, target: Target) -> web.StreamResponse:
        names = await self._catalogue.names()
        repository = self._catalogue.repository(names, target.name, _namespace(request))
        if repository is None:
            raise self._missed(names, request, target, "NAME_UNKNOWN")
        assert target.digest is not None
        size = await self._catalogue.size(names, repository, target.digest)
        if size is None:
            raise self._missed(names, request, target, "BLOB_UNKNOWN")
        try:
            opened = await self._catalogue.open(target.digest, size)
        except IncompleteError:
            raise self._missed(names, request, target, "BLOB_UNKNOWN") from None
        return await send_blob(request, opened, target.digest)

    async def _referrers(self, request: web.Request, target: Target) -> web.StreamResponse:
        """Never 404, which would mean that there is no such API (distribution-spec 1.1, "Listing Referrers")."""
        names = await self._catalogue.names()
        repository = self._catalogue.repository(names, target.name, _namespace(request))
        assert target.digest is not None
        found: tuple[Descriptor, ...] = ()
        if repository is not None:
            reach = await self._catalogue.reach_of(names, repository, target.digest)
            found = reach.referrers.get(target.digest, ())
        headers = {}
        # Some clients write the plus sign of a media type as it is, which then reads as a space.
        wanted = request.query.get("artifactType", "").replace(" ", "+")
        if wanted:
            found = tuple(one for one in found if one.artifact_type == wanted)
            headers["OCI-Filters-Applied"] = "artifactType"
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found}
        return json_answer(document, content_type=OCI_INDEX, headers=headers)

    def _missed(self, names: Names, request: web.Request, target: Target, code: str) -> RefusedError:
        """Count a miss, and the refusal to raise."""
        namespace = _namespace(request)
        original = names.repository(target.name, namespace) or names.original(target.name, namespace)
        name = original
        if target.digest:
            name = f"{original}@{target.digest}"
        elif target.tag:
            name = f"{original}:{target.tag}"
        if self._writer is None or request.method == "GET":  # who pushes asks by HEAD what is there already
            wanted = Wanted(name, target.kind, target.name, namespace, target.digest, target.tag)
            self._misses.add(wanted, _who(request))
        return RefusedError(404, code, f"{name} was not carried here")


def _who(request: web.Request) -> str:
    """Who asks, for people: a user and where from."""
    caller: Caller | None = request.get(CALLER)
    name = caller.name if caller else ""
    return f"{name} ({request.remote})" if name else request.remote or ""


def _namespace(request: web.Request) -> str | None:
    """What containerd sends as `?ns=` (its docs/hosts.md): the host that the image's name has."""
    return request.query.get("ns") or None


def _page(request: web.Request, items: list[str]) -> tuple[list[str], dict[str, str]]:
    """The part that `n` and `last` ask for, and a Link to the next one, relative to the host."""
    last = request.query.get("last")
    if last:
        items = [item for item in items if item > last]
    limit = request.query.get("n")
    if limit is None:
        return items, {}
    if not (limit.isascii() and limit.isdigit()) or len(limit) > 18:
        raise RefusedError(400, "PAGINATION_NUMBER_INVALID", "n is not a number")
    page = items[: int(limit)]
    if not page or len(page) == len(items):
        return page, {}
    others = [(key, value) for key, value in request.query.items() if key not in ("n", "last")]
    query = urlencode([("n", limit), ("last", page[-1]), *others])
    return page, {"Link": f'<{request.rel_url.raw_path}?{query}>; rel="next"'}
