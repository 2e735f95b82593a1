"""Finds out what is wrong, and how to mend it. Changes nothing.

checks
    What a check is, and how all of them are run: at once, each with a time limit.
patient
    What is looked at, and in which order.
account, files, environment, pgadmin, logins, daemon
    One area each: small functions that give findings.
redact, bundle
    A report of a bug, without anything that tells who or where somebody is.
"""
