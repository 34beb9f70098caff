"""A deterministic event loop, small worlds on it, and oracles that judge each run.

loop              the loop: virtual time, and every choice made by a chooser
base_loop         what asyncio asks of any loop
run               one run of a program, and all that it left behind
choosers          every schedule in turn, at random, or replayed
worlds            a call under test and its children, with what truly happened logged
behaviours        how a child can behave
calls             the functions with outcomes as calls under test: all kinds of inputs and consumers
run_log           the log of a run, sorted by child
oracles           what must be true of every run
outcome_oracles   what must be true besides, of the functions with outcomes
every_schedule    small worlds, with the number of their schedules
random_programs   random programs of all three functions; what fails is printed as Python
faults            a fault in every step of the children, or at every boundary of the loop
wrong             wrong implementations of gather, which a search must find before it is trusted
wrong_outcomes    wrong implementations of the other two functions
asyncio_programs  ordinary asyncio programs, which do here what they do on the stock loop
"""
