"""What customers were promised: contracts, the units they cover, the calendars they count on."""
