"""Pure values and functions: no await, no clock, no log, no randomness, nothing but the standard library."""
