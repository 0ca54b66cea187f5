"""Parts and where they lie: a ledger of moves whose sum the database keeps as a balance."""
