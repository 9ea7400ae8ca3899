"""All that changes a position: evaluating it, driving its operations, applying results, carrying out commands.

A decision becomes a record (``operation``), which is driven through S4 one step at a time (``executor``). What each
answer means stands in ``transitions``.
"""
