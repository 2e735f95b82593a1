"""When to look: the schedule of sweeps, the wake-up tick, and the files that others write."""
