"""Units that are not who the records say: exchanged, reached twice, or with addresses swapped."""
