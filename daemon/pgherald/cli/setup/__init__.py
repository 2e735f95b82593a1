"""What `pgherald init` does, step by step.

`walk` leads through it: `ground` finds what is there, `choice` says which databases there are to
choose from (pure), `ask` puts the questions, on a real terminal by `picker` (pure) and `keys`,
`deed` writes, or takes back what it wrote, and `after` shows a notification and installs the
service.
"""
