"""What traps were heard, of whom; hearing them is `collector.trap_ear`."""
