"""What an order result changes in a position's books. Pure, and exactly once by construction.

``filled_qty`` is cumulative, so a result that is told again, late or out of order has no increment and changes nothing;
a status only moves forward.
"""

from s6.booking.booking import Booking, SymbolTerms
from s6.booking.books import book, revalue, unheard_of, write_off
from s6.booking.ladder import rungs_done

__all__ = ["Booking", "SymbolTerms", "book", "revalue", "rungs_done", "unheard_of", "write_off"]
