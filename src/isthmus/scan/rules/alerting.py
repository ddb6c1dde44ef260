"""Where alerts are sent outside: Slack, OpsGenie, PagerDuty and others. Certain where an address is named.

Addresses of webhooks are secrets: only their host is shown. Not here: who sends them (`pods`).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from isthmus.inventory.model import Endpoint
from isthmus.scan.addresses import is_outside, is_url, without_secrets
from isthmus.scan.document import text_at
from isthmus.scan.view import View, endpoint
from isthmus.scan.words import words

RULE = "alert-receiver"
ADVICE = "send to a receiver inside (mail, webhook), or leave the receiver out"
# What Alertmanager contacts where the configuration names no address of its own.
_DEFAULTS: Mapping[str, tuple[str, str]] = {
    "opsgenie": ("api_url", "https://api.opsgenie.com/"),
    "pagerduty": ("url", "https://events.pagerduty.com/v2/enqueue"),
    "pushover": ("api_url", "https://api.pushover.net/1/messages.json"),
    "victorops": ("api_url", "https://alert.victorops.com/integrations/generic/20131114/alert/"),
    "wechat": ("api_url", "https://qyapi.weixin.qq.com/cgi-bin/"),
    "telegram": ("api_url", "https://api.telegram.org"),
    "webex": ("api_url", "https://webexapis.com/v1/messages"),
    "discord": ("webhook_url", ""),
    "slack": ("api_url", ""),
    "msteams": ("webhook_url", ""),
    "webhook": ("url", ""),
}
_LISTS = {f"{service}{suffix}": service for service in _DEFAULTS for suffix in ("_configs", "Configs")}
_SERVICES = frozenset(_DEFAULTS) | {
    "opsgenie",
    "msteamsv2",
    "teams",
    "rocketchat",
    "mattermost",
    "googlechat",
    "zenduty",
}


def find(view: View) -> Iterator[Endpoint]:
    """Every receiver outside."""
    for path, mapping in view.mappings:
        yield from _receivers(view, mapping, path)
        yield from _settings(view, mapping, path)
    for variable in view.variables:
        yield from _address(view, variable.name, variable.value, variable.path)


def _receivers(view: View, mapping: Mapping[str, Any], path: str) -> Iterator[Endpoint]:
    """`slack_configs` of Alertmanager, `slackConfigs` of its custom resource."""
    for name, receivers in mapping.items():
        service = _LISTS.get(name, "")
        if not service or not isinstance(receivers, list):
            continue
        key, default = _DEFAULTS[service]
        for index, receiver in enumerate(receivers):
            url = text_at(receiver, key) or text_at(receiver, key.replace("_url", "URL")) or default
            if is_url(url) and (is_outside(url) or url == default):
                finding = view.finding(f"{path}.{name}[{index}]", RULE)
                yield endpoint(_shown(url, service), f"alerts-{service}", finding, ADVICE)


def _settings(view: View, mapping: Mapping[str, Any], path: str) -> Iterator[Endpoint]:
    for key, value in mapping.items():
        if isinstance(value, str):
            yield from _address(view, key, value, f"{path}.{key}")


def _address(view: View, name: str, value: str, path: str) -> Iterator[Endpoint]:
    parts = words(name)
    if not parts or not ({"url", "webhook", "webhookurl", "hostport"} & set(parts)) or not is_url(value):
        return
    service = next((part for part in parts if part in _SERVICES), "")
    if service and is_outside(value):
        yield endpoint(_shown(value, service), f"alerts-{service}", view.finding(path, RULE, "likely"), ADVICE)


def _shown(url: str, service: str) -> str:
    return without_secrets(url, keep_path=service in ("opsgenie", "pagerduty", "victorops"))
