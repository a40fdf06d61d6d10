"""The HTTP edge: translates requests to use cases and back, and decides nothing itself."""
