"""How the operating system runs the daemon.

manager
    What the service managers have in common: what they run, and whose their file is.
steps
    What is written and run for it: planned first, then applied.
systemd, launchd, windows
    One service manager each; `unit.template` and `task.template` hold their texts.
sd_notify
    The daemon's messages to systemd, and the backoff of its starts.
"""
