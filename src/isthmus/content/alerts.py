"""Prometheus' alert rules about what becomes stale inside. Pure; `site` writes them, `serve` has the numbers."""

import yaml

STALE = "IsthmusPerishableStale"
SOON = "IsthmusPerishableSoonStale"
DOWN = "IsthmusPerishablesUnknown"


def staleness_rules(*, expected: bool = True, severity: str = "warning") -> str:
    """A file of rules, as YAML. `expected`: it is an alert as well if no such thing is told of."""
    rules = [
        {
            "alert": STALE,
            "expr": "isthmus_perishable_stale == 1",
            "for": "1h",
            "labels": {"severity": severity},
            "annotations": {
                "summary": "{{ $labels.name }} is stale",
                "description": "It is missing, or older than is accepted. Outside: isthmus refresh --pack DIR "
                "--since RECEIPT; inside: isthmus unpack. What breaks: isthmus status.",
            },
        },
        {
            "alert": SOON,
            "expr": "isthmus_perishable_age_seconds > 0.8 * isthmus_perishable_max_age_seconds "
            "and on (name, kind) isthmus_perishable_stale == 0",
            "for": "1h",
            "labels": {"severity": "info"},
            "annotations": {
                "summary": "{{ $labels.name }} is soon stale",
                "description": "It is {{ $value | humanizeDuration }} old: bring a refreshed bundle.",
            },
        },
    ]
    if expected:
        rules.append(
            {
                "alert": DOWN,
                "expr": "absent(isthmus_perishable_stale)",
                "for": "1h",
                "labels": {"severity": severity},
                "annotations": {
                    "summary": "nothing tells how old carried databases are",
                    "description": "isthmus serve is not scraped, or its store has lost them.",
                },
            }
        )
    document = {"groups": [{"name": "isthmus-freshness", "rules": rules}]}
    return yaml.safe_dump(document, sort_keys=False, width=110)
