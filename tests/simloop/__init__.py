"""The proof: a deterministic event loop, small worlds on it, and oracles that judge each run.

loop             the loop: virtual time, and every choice made by a chooser
plumbing         what asyncio asks of any loop
run              one run of a program, and all that it left behind
choosers         every schedule in turn, at random, drawn by hypothesis, or replayed
worlds           a call under test and its children, with what truly happened logged
behaviours       how a child can behave
calls            the functions with outcomes as calls under test: all kinds of inputs and consumers
story            the log of a run, sorted by who did what
oracles          what must be true of every run
outcome_oracles  what must be true besides, of the functions with outcomes
searches         small worlds, with the number of their schedules
trees            random programs of all three functions; what fails is printed as Python
faults           a fault in every step of the children, a blow at every boundary of the loop
wrong            faulty calls, which a search must find before it is trusted
wrong_outcomes   faulty streams and races, likewise
programs         ordinary asyncio programs, which do here what they do on the stock loop
"""
