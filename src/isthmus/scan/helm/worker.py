"""The child process that renders charts with the Helm library; a request a line, an answer a line, JSON.

A file that a child interpreter runs by its path: a fault or a hang of the library, or a chart that eats
memory, ends this process and not the program. It imports nothing of ours. Not here: starting and ending
it (`sdk`).
"""

import json
import os
import re
import sys
from typing import Any, BinaryIO

_INDEXED = re.compile(r"\[\d+\]")


def main() -> None:
    """Answer requests until standard input ends."""
    # The library's own prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        import helm_python
    except Exception as error:  # noqa: BLE001 - a broken library may raise anything
        answer(answers, {"error": f"{type(error).__name__}: {error}", "missing": True})
        return
    answer(answers, {"ready": helm_python.helm_sdk_version()})
    for line in sys.stdin.buffer:
        try:
            reply = render(helm_python, json.loads(line))
        except helm_python.HelmError as error:
            reply = {"error": str(error)}
        except Exception as error:  # noqa: BLE001 - the answer has to be an error, not silence
            reply = {"error": f"{type(error).__name__}: {error}"}
        answer(answers, reply)


def answer(file: BinaryIO, reply: dict[str, Any]) -> None:
    """Write one answer."""
    file.write(json.dumps(reply).encode() + b"\n")
    file.flush()


def render(helm: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Load a chart, compose its values as Helm does, render it."""
    with helm.Chart.load(request["chart"]) as chart:
        check_dependencies(chart)
        values: dict[str, Any] = {}
        for text in request["values"]:
            merge(values, helm.values_from_yaml(text))
        merge(values, request["data"])
        for kind, expression in request["sets"]:
            apply_set(helm, values, kind, expression)
        options = {
            key: request[key] for key in ("name", "namespace", "kube_version", "api_versions") if request[key]
        }
        # Chart.render() has no argument for versions, but the library has: an unknown option is an error of it.
        call, handle = helm._native.call_string, chart._raw()  # noqa: SLF001
        text = call("helm_render", handle, json.dumps(values), json.dumps(options))
        crds = [[crd["filename"], crd["data"]] for crd in chart.crds] if request["crds"] else []
    return {"templates": json.loads(text), "crds": crds}


def check_dependencies(chart: Any) -> None:
    """Refuse a chart whose subcharts are not all there, as `helm template` does."""
    held = {dependency.get("name") for dependency in chart.dependencies}
    wanted = [dependency.get("name", "") for dependency in chart.metadata.get("dependencies") or []]
    missing = sorted({name for name in wanted if name not in held})
    if missing:
        raise ValueError(f"found in Chart.yaml, but missing in charts/ directory: {', '.join(missing)}")


def merge(base: dict[str, Any], over: dict[str, Any]) -> None:
    """Merge mappings deeply into `base`; anything else is replaced, as Helm does with values files."""
    for key, value in over.items():
        held = base.get(key)
        if isinstance(held, dict) and isinstance(value, dict):
            merge(held, value)
        else:
            base[key] = value


def apply_set(helm: Any, values: dict[str, Any], kind: str, expression: str) -> None:
    """Apply one `--set`, `--set-string` or `--set-json` expression."""
    if kind == "set-json":
        apply_json(helm, values, expression)
        return
    parse = helm.parse_set_string if kind == "set" else helm.parse_set_string_values
    for part in split_expression(expression):
        apply_parsed(values, part, parse(part))


def apply_json(helm: Any, values: dict[str, Any], expression: str) -> None:
    """Apply `key=JSON,key=JSON` or one JSON mapping: a value replaces what is at its key, mappings as well."""
    if expression.lstrip().startswith("{"):
        merge(values, json.loads(expression))
        return
    while expression:
        key, _, rest = expression.partition("=")
        rest = rest.lstrip()
        value, end = json.JSONDecoder().raw_decode(rest)
        # A mark that is no mapping goes in first, so that the mapping that follows is not merged.
        apply_parsed(values, key, helm.parse_set_json(f"{key}=0"))
        apply_parsed(values, key, helm.parse_set_json(f"{key}={json.dumps(value)}"))
        expression = rest[end:].lstrip().removeprefix(",")


def apply_parsed(values: dict[str, Any], part: str, parsed: dict[str, Any]) -> None:
    """Merge what one expression became; with an index in its key, into the lists that are there."""
    if _INDEXED.search(part.partition("=")[0]):
        merge_indexed(values, parsed)
    else:
        merge(values, parsed)


def split_expression(expression: str) -> list[str]:
    """The parts between commas that are neither escaped nor inside braces."""
    parts, start, depth, escaped = [], 0, 0, False
    for position, letter in enumerate(expression):
        if escaped:
            escaped = False
        elif letter == "\\":
            escaped = True
        elif letter in "{}":
            depth += 1 if letter == "{" else -1
        elif letter == "," and depth == 0:
            parts.append(expression[start:position])
            start = position + 1
    return [*parts, expression[start:]]


def merge_indexed(base: Any, over: Any) -> Any:
    """As `merge`, but `a[1].b=x` changes one element of a list and keeps the others."""
    if isinstance(base, dict) and isinstance(over, dict):
        for key, value in over.items():
            base[key] = merge_indexed(base.get(key), value)
        return base
    if isinstance(base, list) and isinstance(over, list):
        longer = max(len(base), len(over))
        both = zip(base + [None] * (longer - len(base)), over + [None] * (longer - len(over)), strict=True)
        return [mine if theirs is None else merge_indexed(mine, theirs) for mine, theirs in both]
    return over


if __name__ == "__main__":
    main()
