"""What the answers of all wires have in common."""
