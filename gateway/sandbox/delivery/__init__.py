"""Sending events to webhook endpoints: signed, asynchronously, again and again, and badly on purpose."""
