"""The command line, one file per command, and the Python verbs that share its pipelines."""
