"""A whole crossing on one machine, with an upstream and a site of its own: no root, no Internet, no engine."""
