"""Cases: the flagged payments of one customer, or another entity, worked by people to one end."""
