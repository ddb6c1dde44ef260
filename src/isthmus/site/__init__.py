"""What a site has to be told: one module a thing to configure, all written from `MirrorMap` and the lock."""
