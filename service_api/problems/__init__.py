"""Problem records: faults that come back, what is known of their root, how to live with them."""
