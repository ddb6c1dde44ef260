"""The parts of `bootstrap.py`, the script beside the volumes: the standard library and each other alone.

`isthmus.bundle.tool.script` puts them into one file. Not here: anything that Isthmus itself calls.
"""
