"""The only home of SQLAlchemy: rows in, values out, one transaction at a time.

What the rows mean is decided elsewhere; here is only how they are kept, found and locked. The database's clock is
the one clock that heads share.
"""
