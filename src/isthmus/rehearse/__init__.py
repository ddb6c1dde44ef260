"""Pulls and downloads of a platform, really done in a closed network, every attempt to leave it recorded."""
