"""A Heroku that runs on this machine, in front of a real Postgres: for the demo and tests.

state, world   apps, add-ons, attachments, config vars, releases; what follows from what
data_plane     what Heroku does to a Postgres, done to a real one: rotations, failovers
seed           a believable world to begin with
platform_api, data_api, logs
               what is asked over HTTP; http how it is answered, shapes in what form
faults         trouble at will, and the record of requests
control        the routes by which a test or a person makes things happen
application, server
               all of it as one application, behind one port on loopback
backend        what is needed of a Postgres; postgres a throw-away one with TLS
demo           what `pgherald demo` plays

Nothing here is imported by the daemon, and what needs the extra `demo` is imported
when a simulator starts.
"""
