"""The wiring: the one place where the rooms are joined.

`wiring` builds everything from a configuration, `poller` carries sightings from Heroku to
the engine, `check` is one reconcile in the foreground, `run` is the daemon itself. `standing`
says how everything stands, `metrics` says it in figures, `publish` shows both to other programs.
"""
