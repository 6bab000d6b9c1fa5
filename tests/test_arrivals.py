"""ARRIVALS: rows of other stores take their place once, with the numbers of this one."""
