"""Translating helmfile's templates, and composing configuration as yq and envsubst do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.scan.ck8s.config import substitute
from isthmus.scan.ck8s.gotmpl import Functions, translate
from isthmus.scan.ck8s.merge import merged
from isthmus.scan.ck8s.releases import resolve
from isthmus.scan.helm.request import RenderError

FUNCTIONS = Functions(read_file=lambda name: f'text of "{name}"', environment=lambda name: f"${name}")


@pytest.mark.parametrize(
    ("helmfile", "helm"),
    [
        ("{{ .Values.a.b }}", "{{ .Values.V.a.b }}"),
        (
            "{{ .Values }}{{ $.Values.x }}{{ $ctx.Values.x }}",
            "{{ .Values.V }}{{ $.Values.V.x }}{{ $ctx.Values.V.x }}",
        ),
        ("{{ .ValuesOther }} .Values", "{{ .ValuesOther }} .Values"),
        ("{{ .Environment.Name }}", "{{ .Values.EnvName }}"),
        ('{{ .Values | get "a.b" false }}', '{{ .Values.V | dig "a" "b" false }}'),
        ('{{- if get "a" "" . -}}', '{{- if dig "a" "" . -}}'),
        ('{{ get "a.b" .Values }}', '{{ dig "a" "b" nil .Values.V }}'),
        ('{{ .Values.x | getOrNil "s" | required "m" }}', '{{ .Values.V.x | dig "s" nil | required "m" }}'),
        ('{{ $s := getOrNil "s" $x }}', '{{ $s := dig "s" nil $x }}'),
        ('{{ and (.Values | get "a" false) (b) }}', '{{ and (.Values.V | dig "a" false) (b) }}'),
        ("{{ eq .Values.x 0 }}", "{{ eq .Values.V.x 0.0 }}"),
        ("{{ le 1 $x.y }}", "{{ le 1.0 $x.y }}"),
        ("{{ ge (len .Values.x) 2 }}", "{{ ge (len .Values.V.x) 2 }}"),
        ('{{ eq (.Values | get "n" 1) 1 }}', '{{ eq (.Values.V | dig "n" 1) 1.0 }}'),
        ('{{ "get .Values }}" }}', '{{ "get .Values }}" }}'),
        ("{{/* .Values.x */}}", "{{/* .Values.x */}}"),
        ('{{ readFile "a.yaml" | fromYaml }}', '{{ print "text of \\"a.yaml\\"" | fromYaml }}'),
        ('{{ requiredEnv "A" }}/x', '{{ print "$A" }}/x'),
        ("{{ index .Values.get 0 }}", "{{ index .Values.V.get 0 }}"),
    ],
)
def test_each_construct(helmfile: str, helm: str) -> None:
    assert translate(helmfile, FUNCTIONS) == helm


@given(st.text(alphabet="{}-|()\"`' .\nget $Values/*:=0eq", max_size=200))
def test_any_text_is_translated_without_a_fault(text: str) -> None:
    translate(text, FUNCTIONS)


def test_variables_that_are_not_set_become_nothing() -> None:
    value = {"a": "${A}-x", "b": ["$B", "$$${q}NONCE", "${A"], "${A}": 1, "n": "${N}"}
    assert substitute(value, {"A": "1", "N": "true"}) == {
        "a": "1-x", "b": [None, "$$NONCE", "${A"], "1": 1, "n": True,
    }  # fmt: skip


def test_later_layers_win_and_lists_are_replaced() -> None:
    layers: list[dict[str, object]] = [
        {"a": {"b": 1, "c": [1, 2]}, "d": {"x": 1}}, {"a": {"c": [3], "e": {}}, "d": 5}, {"a": {"b": None}},
    ]  # fmt: skip
    assert merged(layers) == {"a": {"b": None, "c": [3], "e": {}}, "d": 5}
    assert layers[0] == {"a": {"b": 1, "c": [1, 2]}, "d": {"x": 1}}


def test_releases_inherit_as_helmfile_does() -> None:
    templates: dict[str, dict[str, object]] = {
        "base": {"namespace": "n", "labels": {"a": "1"}, "values": ["one"], "installed": True},
        "mid": {"inherit": [{"template": "base"}], "chart": "c", "values": ["two"]},
    }
    release = resolve(
        {
            "name": "r",
            "inherit": [{"template": "mid"}, {"template": "base", "except": ["values"]}],
            "values": ["three"],
        },
        templates,
        {},
    )
    assert (release.title, release.chart, release.values, release.off) == ("n/r", "c", ("one", "two", "three"), "")
    with pytest.raises(RenderError):
        resolve({"name": "r", "inherit": [{"template": "gone"}]}, templates, {})
    with pytest.raises(RenderError):
        resolve({"name": "r"}, templates, {})
    off = resolve({"name": "r", "chart": "c", "condition": "a.b"}, {}, {"a": {"b": False}})
    assert off.off == "a.b is not true"
