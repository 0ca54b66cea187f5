"""A job for an engineer, from draft to done, and back where somebody erred."""
