"""The keys: their values, the table of them, and files of them."""
