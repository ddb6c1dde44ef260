"""Harbor as a target: the projects that names need are made before anything is copied.

Harbor keeps no repository outside a project, which is the first part of its name, and a push makes none. Uses
`/projects` of Harbor's API v2.0 (api/v2.0/swagger.yaml: headProject, createProject). Not here: the rules that
refuse a push later, quota and immutable tags, which `registry.failures` explains.
"""

import json
import re
from collections.abc import Iterable

import msgspec

from isthmus.errors import UnreachableError, UsageError
from isthmus.registry import Registry

_API = "/api/v2.0/projects"
_NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*", re.ASCII)
_LONGEST = 255


class ProjectOptions(msgspec.Struct, frozen=True):
    """What new projects are like; `storage_limit` in bytes, -1 for none, None for Harbor's default."""

    public: bool = False
    storage_limit: int | None = None


def projects_of(repositories: Iterable[str]) -> tuple[str, ...]:
    """The projects that hold these repositories, sorted.

    Raises UsageError (`wrong-usage`) where Harbor can have no such project or repository.
    """
    found: set[str] = set()
    for repository in repositories:
        project, slash, rest = repository.partition("/")
        if not slash or not rest:
            raise UsageError(
                "wrong-usage",
                f"Harbor has no room for {repository}: it is in no project",
                hint="give a prefix, as --to HOST/PROJECT",
            )
        if not _NAME.fullmatch(project) or len(project) > _LONGEST:
            raise UsageError(
                "wrong-usage",
                f"Harbor takes no project of the name {project}",
                hint="give a prefix that begins with a project's name, as --to HOST/mirror",
            )
        found.add(project)
    return tuple(sorted(found))


def ensure_projects(registry: Registry, repositories: Iterable[str], options: ProjectOptions) -> tuple[str, ...]:
    """Make the projects that are not there; private, unless the options say otherwise. Returns those made.

    Projects that are there are left as they are. Raises UsageError as `projects_of`, and UnreachableError, with
    what to do where the account may not make projects.
    """
    missing = (project for project in projects_of(repositories) if not _is_there(registry, project))
    return tuple(project for project in missing if _make(registry, project, options))


def _is_there(registry: Registry, project: str) -> bool:
    # Robots may not ask for projects that they have nothing to do with: making it will tell.
    accept = frozenset({200, 403, 404})
    status, _ = registry.ask("HEAD", f"{_API}?project_name={project}", accept=accept)
    return status == 200


def _make(registry: Registry, project: str, options: ProjectOptions) -> bool:
    """Whether it was made; False where somebody else made it meanwhile, or it was hidden."""
    wanted: dict[str, object] = {
        "project_name": project,
        "metadata": {"public": "true" if options.public else "false"},
    }
    if options.storage_limit is not None:
        wanted["storage_limit"] = options.storage_limit
    body = json.dumps(wanted, sort_keys=True).encode()
    try:
        status, _ = registry.ask("POST", _API, body, accept=frozenset({201, 409}))
    except UnreachableError as error:
        if error.http_status == 404:
            raise UnreachableError(
                "refused",
                "this host has no API of Harbor",
                where=registry.host,
                hint="is it a Harbor? For any other registry, leave --kind and site.registry.kind out",
                http_status=404,
            ) from error
        if error.code == "unauthorized":
            error.hint = (
                f"make the project {project} in Harbor, or use an account that may: an administrator, or a "
                "system robot with the permission to create projects"
            )
        raise
    return status == 201
