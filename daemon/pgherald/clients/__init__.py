"""One module per client: a pure editor, bytes in, bytes out.

An editor knows one file format and nothing else: no path, no clock, no other client.
`pgherald.sync` reads the file, hands the bytes over, and writes what comes back.
"""
