"""Building kustomizations with an installed `kustomize` or `kubectl`."""
