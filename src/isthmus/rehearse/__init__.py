"""Pulls and downloads of a platform, really done in a network that has no way out, every attempt to leave recorded."""
