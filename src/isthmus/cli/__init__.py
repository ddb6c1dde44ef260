"""The command line: one file a command, thin, imported only when it runs."""
