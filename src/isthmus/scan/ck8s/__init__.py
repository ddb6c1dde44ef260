"""Renders a checkout of compliantkubernetes-apps offline: no helmfile, sops, kubeconfig or network."""
