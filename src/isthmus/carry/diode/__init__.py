"""A one-way link: files as UDP datagrams with forward error correction, and no datagram ever expected back.

`sending.send` and `receiving.receive` are the two ends; docs/carrying.md has the datagrams. Not here: what the
files are (`isthmus.bundle` signs and verifies them).
"""
