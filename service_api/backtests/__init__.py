"""Back-tests: rules tried on history, asked for and cancelled by staff, run one at a time."""
