"""An incoming directory at the site: what arrives is verified and unpacked once it is complete.

`watching.sweep` looks once, `watching.watch` again and again. Not here: how it arrives.
"""
