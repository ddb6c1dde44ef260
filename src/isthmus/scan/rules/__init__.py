"""One module a rule; `registry` lists them."""
