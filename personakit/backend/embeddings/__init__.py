"""The API of embeddings."""
