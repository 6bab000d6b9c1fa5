"""COURIER: what is committed is shipped, whatever the hub does, and never on the way of a caller."""
