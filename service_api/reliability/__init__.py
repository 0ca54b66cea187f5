"""How reliable units are, by unit, model, site and customer: read from tickets and work orders."""
