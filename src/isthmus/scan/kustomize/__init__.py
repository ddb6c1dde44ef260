"""Building kustomizations: with an installed `kustomize` or `kubectl`, or the common part of it without."""
