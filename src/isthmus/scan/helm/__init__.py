"""Rendering Helm charts: with an installed `helm`, or with the Helm library in a process of its own."""
