"""The connections of the clients: what they may send, how slowly, and how many there are."""
