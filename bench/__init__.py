"""What README claims about speed and cost, measured.

    make bench                      # all parts, a few minutes
    make bench BENCH="mass editors" # some of them

Each part gives rows of one table. Beside each number stands what a person would use
instead, or the floor that nothing can beat, measured in the same run on the same machine: so
the ratios mean something elsewhere too, and the absolute numbers little.
"""
