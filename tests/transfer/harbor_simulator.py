"""A simulator of Harbor's project API in front of a real registry. It is not Harbor.

It knows `HEAD` and `POST /api/v2.0/projects` as api/v2.0/swagger.yaml publishes them and its handlers answer
(Harbor 2.x, src/server/v2.0/handler/project.go), refuses pushes outside a project, pushes over a quota and
changes of immutable tags in Harbor's own words, and passes the rest on to the registry. Not a test file.
"""

import base64
import json
import re
from dataclasses import dataclass, field

from tests.registry.faults import Asked, Reply
from tests.transfer.front import Front

ADMIN = ("admin", "admin-password-that-nobody-may-see")
ROBOT = ("robot$mirror", "robot-password-that-nobody-may-see")
SYSTEM_ROBOT = ("robot$system", "system-password-that-nobody-may-see")
ACCOUNTS = (ADMIN, ROBOT, SYSTEM_ROBOT)
_NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_FIELDS = {"project_name", "public", "metadata", "cve_allowlist", "storage_limit", "registry_id"}


@dataclass
class Project:
    public: bool = False
    storage_limit: int = -1
    immutable: set[str] = field(default_factory=set)
    used: int = 0


def error(status: int, code: str, message: str) -> Reply:
    """As Harbor's definition `Errors`."""
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return Reply(status, body, {"Content-Type": "application/json"})


class HarborSimulator(Front):
    """Projects as Harbor keeps them; `library` is there from the beginning."""

    def __init__(self, behind: str) -> None:
        super().__init__(behind)
        self.projects = {"library": Project(public=True)}
        self.rules.clear()
        self.on("HEAD", r"/api/v2\.0/projects\?.*", self._find).on("POST", r"/api/v2\.0/projects", self._create)
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
            self.on(method, "/v2/.*", self._registry)

    def _account(self, asked: Asked) -> tuple[str, str] | None:
        given = asked.header("Authorization").removeprefix("Basic ")
        return next((a for a in ACCOUNTS if base64.b64encode(":".join(a).encode()).decode() == given), None)

    def _find(self, asked: Asked) -> Reply:
        if self._account(asked) is None:
            return error(401, "UNAUTHORIZED", "unauthorized")
        return Reply(200 if asked.target.rpartition("=")[2] in self.projects else 404)

    def _create(self, asked: Asked) -> Reply:
        account = self._account(asked)
        if account is None:
            return error(401, "UNAUTHORIZED", "unauthorized")
        if account == ROBOT:
            return error(403, "FORBIDDEN", "Only system level robot can create project")
        wanted = json.loads(asked.body)
        name = wanted.get("project_name", "")
        metadata = wanted.get("metadata", {})
        if set(wanted) - _FIELDS or not all(isinstance(value, str) for value in metadata.values()):
            return error(422, "UNPROCESSABLE_ENTITY", "validation failure")
        if not _NAME.fullmatch(name) or len(name) > 255:
            return error(
                400, "BAD_REQUEST", f"project name is not in lower case or contains illegal characters: {name}"
            )
        if name in self.projects:
            return error(409, "CONFLICT", f"The project named {name} already exists")
        public = metadata.get("public") == "true"
        self.projects[name] = Project(public, wanted.get("storage_limit", -1))
        return Reply(201, headers={"Location": f"/api/v2.0/projects/{len(self.projects)}"})

    def _registry(self, asked: Asked) -> Reply:
        if self._account(asked) is None:
            return Reply(401, b"{}", {"WWW-Authenticate": 'Basic realm="harbor"'})
        match = re.match(r"/v2/([^/]+)/(.+)/(manifests|blobs)/([^?]*)", asked.target)
        if match is None or asked.method in ("GET", "HEAD"):
            return self.pass_on(asked)
        name, repository, _, target = match.groups()
        project = self.projects.get(name)
        if project is None:
            return error(404, "NOT_FOUND", f"project {name} not found")
        if asked.method == "PUT" and target in project.immutable:
            said = f"Failed to process request due to '{name}/{repository}:{target}' configured as immutable."
            return error(412, "PRECONDITION", said)
        if project.storage_limit >= 0 and project.used + len(asked.body) > project.storage_limit:
            used, most = f"{project.used} B", f"{project.storage_limit} B"
            said = (
                f"adding {len(asked.body)} B of storage resource, which when updated to current usage of {used} "
                f"will exceed the configured upper limit of {most}."
            )
            return error(403, "DENIED", said)
        project.used += len(asked.body)
        return self.pass_on(asked)
