"""The system's OpenSSH as a way across: files to the far side, byte for byte, and a tunnel for a browser.

`sending.send` and `tunnel.open_tunnel` are the two uses. `ssh` does the authentication, jump hosts and known
hosts, as its own configuration says. Not here: what the files are (`isthmus.bundle` signs and verifies them).
"""
