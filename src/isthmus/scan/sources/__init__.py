"""One module a kind of source, each with `read(spec) -> Iterator[Document | Item | Ref | Endpoint]`."""
