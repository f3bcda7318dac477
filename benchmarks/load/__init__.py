"""Load and faults: many users at once, for long, and with parts of the bot going down.

README.md tells how to run it and what was found.
"""
