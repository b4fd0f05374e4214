"""Doing again what a paper did: its runs, what came out beside what was reported, and every departure."""
