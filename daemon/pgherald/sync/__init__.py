"""What to do: compare, prove, write all clients at once, record.

plan
    What would have to be written. Reads, writes nothing.
probe
    Whether a login works.
commit, journal
    Several writes as one, and the undo that is written before them.
apply
    Plan, commit, record, tell.
troubles
    What does not work, told once.
engine
    The reconcile itself: what Heroku says against what the clients hold.
"""
