"""The command line: one module per command, each import light.

`entry.main` is the program's entry point. It starts the daemon, or runs `main.main`, which turns every expected error into a title and an advice on stderr, never a
traceback, and into one of the documented exit codes.
"""
