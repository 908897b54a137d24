"""Measurements, each against a floor of the same run: the bare calls that the work can't do without.

They print and write figures, and assert nothing: a machine that is slow today is slow for the floor too.
"""
