"""Texts for people that are made from the code: the reference of the messages and the commented settings file.

Only what can be read off schemas stands in here; explanations that need a mind are written in docs/.
"""
