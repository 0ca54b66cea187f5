"""Tickets: needs for service, whoever raised them; why, promised by when, done how."""
