"""What quick commands share with the rest of the program, on little of the standard library.

whereabouts
    Where the configuration and the state are.
shape
    How everything stands, as status.json has it.
held
    Whether the daemon runs.
"""
