"""A simulator of histories: real storage, lock, records, commits, run directory and verification in a simulated world.

A seed decides a history: who runs when, what is killed, which calls fail and what a crash leaves of the disk.
"""
