"""A simulator of kubectl with a kubelet behind it, since no real kubelet can run here: `rehearse --cluster`.

It does what kubectl documents for get, create and delete with the options used, over one JSON file, and writes
the statuses and events that a kubelet writes when an image is pulled and its command does not exist, or is not
pulled. `image@node` in FAIL fails with its text; the first look at a pod finds its images still being pulled.
Not here: an API server, admission, or any other verb.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any


def main() -> int:
    """One call."""
    words = sys.argv[1:]
    options = dict(word[2:].partition("=")[::2] for word in words if word.startswith("--"))
    verbs = [word for word in words if not word.startswith("-")]
    place = Path(os.environ["SIMULATED_CLUSTER"])
    state: dict[str, Any] = json.loads(place.read_text())
    state["calls"].append(words)
    status = _do(verbs, options, state)
    place.with_suffix(".new").write_text(json.dumps(state))
    place.with_suffix(".new").replace(place)
    return status


def _do(verbs: list[str], options: dict[str, str], state: dict[str, Any]) -> int:
    if state.get("forbidden"):
        sys.stderr.write(state["forbidden"] + "\n")
        return 1
    if verbs[0] == "create":
        return _create(options["namespace"], state)
    if verbs[0] == "delete":
        return _delete(verbs[2:], options, state)
    if verbs[0] != "get":
        sys.stderr.write(f'error: unknown command "{verbs[0]}" for "kubectl"\n')
        return 1
    time.sleep(state.get("slow", 0))
    items = {"nodes": _nodes, "pods": _pods, "events": _events}[verbs[1]](options, state)
    print(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    return 0


def _create(namespace: str, state: dict[str, Any]) -> int:
    for pod in json.load(sys.stdin)["items"]:
        assert pod["metadata"]["namespace"] == namespace
        name = pod["metadata"]["name"]
        if name in state["pods"]:
            sys.stderr.write(f'Error from server (AlreadyExists): pods "{name}" already exists\n')
            return 1
        state["pods"][name] = pod | {"looks": 0}
        state["created"].append(pod)
        print(f"pod/{name} created")
    return 0


def _delete(names: list[str], options: dict[str, str], state: dict[str, Any]) -> int:
    for name, pod in list(state["pods"].items()):
        if name in names or (not names and _selected(pod, options["selector"])):
            del state["pods"][name]
            print(f'pod "{name}" deleted')
    return 0


def _selected(pod: dict[str, Any], selector: str) -> bool:
    key, _, value = selector.partition("=")
    labels = pod["metadata"]["labels"]
    return key in labels and (not value or labels[key] == value)


def _nodes(_: dict[str, str], state: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "metadata": {"name": name},
            "status": {
                "nodeInfo": {"operatingSystem": about[0], "architecture": about[1]},
                "conditions": [{"type": "Ready", "status": about[2]}],
            },
        }
        for name, about in state["nodes"].items()
    ]


def _pods(options: dict[str, str], state: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for pod in state["pods"].values():
        if _selected(pod, options["selector"]):
            pod["looks"] += 1
            found.append({"metadata": pod["metadata"], "spec": pod["spec"], "status": _status(pod, state)})
    return found


def _status(pod: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    containers = pod["spec"]["containers"]
    if pod["looks"] == 1:
        waiting = {"waiting": {"reason": "ContainerCreating"}}
        statuses = [_container(each, waiting, "") for each in containers]
        return {"phase": "Pending", "containerStatuses": statuses}
    statuses = []
    for each in containers:
        why = state["fail"].get(f"{each['image']}@{pod['spec']['nodeName']}")
        if why is not None:
            reason = "ErrImagePull" if pod["looks"] % 2 == 0 else "ImagePullBackOff"
            message = why if reason == "ErrImagePull" else f'Back-off pulling image "{each["image"]}"'
            statuses.append(_container(each, {"waiting": {"reason": reason, "message": message}}, ""))
            continue
        digest = state["digests"].get(each["image"], "")
        repository = each["image"].partition("@")[0].rpartition(":")[0]
        ended = {
            "exitCode": 128, "reason": "StartError",
            "message": f'failed to create task: exec: "{each["command"][0]}": no such file or directory',
        }  # fmt: skip
        statuses.append(_container(each, {"terminated": ended}, f"{repository}@{digest}" if digest else ""))
    failing = any("waiting" in each["state"] for each in statuses)
    return {"phase": "Pending" if failing else "Failed", "containerStatuses": statuses}


def _container(spec: dict[str, Any], state: dict[str, Any], there: str) -> dict[str, Any]:
    return {
        "name": spec["name"], "image": spec["image"], "imageID": there, "ready": False, "restartCount": 0,
        "state": state, "lastState": {}, "started": False,
    }  # fmt: skip


def _events(options: dict[str, str], state: dict[str, Any]) -> list[dict[str, Any]]:
    name = options["field-selector"].rpartition("=")[2]
    pod = state["pods"].get(name)
    if pod is None:
        return []
    found = []
    for each in pod["spec"]["containers"]:
        why = state["fail"].get(f"{each['image']}@{pod['spec']['nodeName']}")
        if why is not None and pod["looks"] > 1:
            found.append({"reason": "Failed", "message": f'Failed to pull image "{each["image"]}": {why}'})
            found.append({"reason": "Failed", "message": "Error: ErrImagePull"})
    return found


if __name__ == "__main__":
    sys.exit(main())
