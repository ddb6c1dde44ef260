"""Where alerts go inside: receivers from a short form, for Alertmanager and for what configures it."""
