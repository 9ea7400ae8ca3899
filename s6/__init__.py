"""S6, the position manager: watches over every open position and acts on it through S4 (orders) and S1 (transfers)."""
