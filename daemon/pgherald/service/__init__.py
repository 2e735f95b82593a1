"""How the operating system runs the daemon: unit files, and talking to the service manager."""
