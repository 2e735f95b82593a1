"""The steps of `pgherald init`, which the wizard in `cli.init` leads through.

`preflight` finds the configuration, a Heroku login and the clients; `ask` says which databases there
are to choose from, and puts the questions; `apply` writes, or takes back what it wrote, and then
shows a notification and installs the service.
"""
