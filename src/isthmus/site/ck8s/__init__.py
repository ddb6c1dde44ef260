"""Compliant Kubernetes (Welkin): its configuration for a site without the Internet, written and checked.

Override files hold differences only, as `ck8s init` leaves them; what the real tool misses, the check finds.
"""
