"""Finding everything that a platform will ever ask for: sources, rules, and `run.scan` over both."""
