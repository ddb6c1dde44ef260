"""Reads the helmfile state of a checkout: environments, bases, release templates, releases.

A state file is a template of several parts between `---`, each rendered with the values of the environment
that the parts before it made. Not here: what the releases are rendered to (`cluster`).
"""

import re
from collections.abc import Mapping
from typing import Any

from isthmus.errors import UsageError
from isthmus.scan.ck8s.config import CONFIG_MARK, Configuration
from isthmus.scan.ck8s.merge import merged
from isthmus.scan.ck8s.releases import Release, resolve
from isthmus.scan.ck8s.template import Templates
from isthmus.scan.document import list_at, mapping_at
from isthmus.scan.helm.request import RenderError
from isthmus.scan.yaml_reader import parse_all

STATE_FILES = ("state.yaml.gotmpl", "helmfile.yaml.gotmpl", "helmfile.yaml")
MAX_BASES = 500
_PART = re.compile(r"^---[ \t]*\n", re.MULTILINE)


class State:
    """The state of one environment; `values` are helmfile's, `missing` the user's files that are not there."""

    def __init__(self, templates: Templates, configuration: Configuration, environment: str) -> None:
        self._templates = templates
        self._configuration = configuration
        self._bases = 0
        self.environment = environment
        self.values: dict[str, Any] = {}
        self.missing: list[str] = []
        self.release_templates: dict[str, dict[str, Any]] = {}
        self._releases: list[dict[str, Any]] = []

    def load(self, path: str, within: tuple[str, ...] = ()) -> None:
        """Read a state file and its bases; raises RenderError, UsageError or UnreachableError."""
        self._bases += 1
        if path in within or self._bases > MAX_BASES:
            raise RenderError(f"bases refer to each other in a circle: {' -> '.join((*within, path))[:300]}")
        within = (*within, path)
        text = self._templates.read(path)
        for part in _PART.split(text):
            if part.strip():
                self._take(self._render(part, path), within)

    def releases(self) -> list[Release | RenderError]:
        """Every release, on or off; an error stands for one that could not be resolved."""
        found: list[Release | RenderError] = []
        for release in self._releases:
            try:
                found.append(resolve(release, self.release_templates, self.values))
            except RenderError as error:
                found.append(error)
        return found

    @property
    def data(self) -> dict[str, Any]:
        """What the templates are given."""
        return {"V": self.values, "EnvName": self.environment}

    def _render(self, part: str, path: str) -> dict[str, Any]:
        try:
            text = self._templates.render(part, "", self.data) if path.endswith(".gotmpl") else part
            documents = parse_all(text, path)
        except RenderError as error:
            raise RenderError(f"{path}: {error.message}", error.hint) from error
        except UsageError as error:
            raise RenderError(f"{path} did not become YAML: {error}") from error
        if any(not isinstance(document, dict) for document in documents):
            raise RenderError(f"{path} holds something other than mappings")
        return merged(documents)

    def _take(self, part: Mapping[str, Any], within: tuple[str, ...]) -> None:
        for base in list_at(part, "bases"):
            self.load(str(base), within)
        environments = mapping_at(part, "environments")
        if environments:
            self._take_environment(mapping_at(environments, self.environment), within[-1])
        for name, template in mapping_at(part, "templates").items():
            if isinstance(template, dict):
                self.release_templates[name] = merged([self.release_templates.get(name, {}), template])
        self._releases.extend(release for release in list_at(part, "releases") if isinstance(release, dict))

    def _take_environment(self, environment: Mapping[str, Any], path: str) -> None:
        if not environment:
            raise RenderError(f"{path} has no environment {self.environment}")
        layers = [self._layer(entry) for entry in list_at(environment, "values")]
        secrets = [self._layer(entry) for entry in list_at(environment, "secrets")]
        self.values = merged([self.values, *layers, *secrets])

    def _layer(self, entry: Any) -> dict[str, Any]:
        if isinstance(entry, dict):
            return entry
        name = str(entry)
        if name.startswith(f"{CONFIG_MARK}/"):
            name = name[len(CONFIG_MARK) + 1 :]
            layer = self._configuration.file(name)
            if layer is None:
                self.missing.append(name)
            return layer or {}
        return self._render(self._templates.read(name), name)
