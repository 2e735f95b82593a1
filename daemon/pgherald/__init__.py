"""Heroku rotates your Postgres credentials; your pgAdmin never notices."""

__version__ = "0.1.0"
