"""Adapters: one package each.

A function takes the job and returns what is done again and again: a function, a generator function,
a coroutine function, an async generator function, or a coroutine function of (times, at_once)
where the package has a way of its own to do many. It gives the answer, which is checked. The job
has, as needed: `base_url`, `messages`, `template`, `values` and `fresh()`, which returns values
that were not seen before.
"""
