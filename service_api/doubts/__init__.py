"""Values in doubt: what cannot be right, and the decision of somebody who knows the device."""
