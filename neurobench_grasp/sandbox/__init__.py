"""Subprocesses for what is not trusted: plugins, and files of unknown origin.

``process`` starts a subprocess and asks it, ``worker`` is the other end, ``limits`` are what it may use,
``wire`` is the form of what they exchange, and ``environment`` which variables it sees.
"""
