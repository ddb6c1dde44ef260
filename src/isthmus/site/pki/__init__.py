"""The site's certificate authority: an offline root, an issuing CA, and what it issues (RFC 5280).

Each authority is a directory of PEM files that people and other tools can read; there is no database.
"""
