"""Campaigns: the same failure of one model and firmware at several customers."""
