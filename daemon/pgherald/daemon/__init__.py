"""The wiring: the one place where the rooms are joined.

`wiring` builds everything from a configuration, `sweeper` carries sightings from Heroku to
the engine, `check` is one reconcile in the foreground, `service` is the daemon itself.
"""
