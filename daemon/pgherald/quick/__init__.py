"""What `status` and `password` answer from without loading the program.

Both are asked by scripts and by pgAdmin, often, and most of their time went into importing what
the answer does not need. So what they share with the rest of the program stands here, on the
standard library alone, and on little of that: no dataclasses, no click.

whereabouts
    Where the configuration and the state are.
shape
    How everything stands, as status.json has it.
memo
    By what status.json is known to be what the whole program would say now.
held
    Whether the daemon runs.
"""
