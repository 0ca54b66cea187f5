"""The rules in force, as people read them: what each says, what it raises, and switching it off."""
