"""Operations: a decision becomes a record (``begin``), is driven through S4 (``executor``), one step at a time.

What each answer means stands in ``transitions`` and ``refusals``, pure functions over the position and the record.
"""
