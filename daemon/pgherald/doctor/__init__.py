"""Finds out what is wrong, and how to mend it. Changes nothing.

checks
    A check and its findings; runs all of them at once, each with a time limit.
context
    The list of checks.
heroku, clients, machine
    One area each: small functions that give findings.
bundle
    A report of a bug, without anything that shows who or where somebody is.
"""
