"""What is carried and is not an image: files, charts, git repositories, packages; fetched, verified and kept as OCI artifacts."""
