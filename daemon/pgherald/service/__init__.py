"""How the operating system runs the daemon.

sd_notify
    Talking to systemd while the daemon runs.
units
    The text of the systemd units.
setup, steps, mark, programs
    What the service managers have in common: what they are to run, what is written and
    started for it, by what pgherald knows its own files again, and how programs are run.
systemd, launchd, windows
    One service manager each; see `setup.Manager`.
"""
