from collections.abc import Callable

Names = Callable[[str], dict[str, str]]


def test_annotations_of_objects_and_pods(names: Names) -> None:
    found = names(
        """
apiVersion: apps/v1
kind: Deployment
metadata:
  annotations:
    example.com/agent-image: "quay.io/a/agent:1"
    kubectl.kubernetes.io/last-applied-configuration: '{"image":"x/y:1"}'
spec:
  template:
    metadata:
      annotations:
        sidecar.istio.io/proxyImage: quay.io/a/proxy:1
        prometheus.io/path: /metrics
        container.image.policy/allowed-images: quay.io/a/no:1
    spec: {containers: []}
"""
    )
    assert found == {"quay.io/a/agent:1": "likely", "quay.io/a/proxy:1": "likely"}
