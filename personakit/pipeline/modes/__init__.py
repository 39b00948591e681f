"""The four ways to run a coroutine: whole or streamed, in the sync or in the async API."""
