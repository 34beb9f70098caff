"""The proof: a deterministic event loop, small worlds on it, and oracles that judge each run.

loop         the loop: virtual time, and every choice made by a chooser
plumbing     what asyncio asks of any loop
run          one run of a program, and all that it left behind
choosers     every schedule in turn, at random, drawn by hypothesis, or replayed
worlds       a call under test and its children, with what truly happened logged
behaviours   how a child can behave
story        the log of a run, sorted by who did what
oracles      what must be true of every run
wrong        faulty calls, which a search must find before it is trusted
programs     ordinary asyncio programs, which do here what they do on the stock loop
"""
