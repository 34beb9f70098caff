"""`python -m structgather migrate`: move a code base from asyncio's calls to structgather's.

cli         the command: arguments, files one by one, the exit code
report      what it prints: findings, diffs, JSON
files       which files; how they are read and, all at once, written

rewrite     one source text: what was found in it, and how it reads afterwards
gathers     each use of asyncio.gather: may it be moved?
dangers     where a failure would do more than today, or does less than it should
owners      whose the awaitables are: those of an object outlive the call
patches     where asyncio's functions are replaced, as tests do
completed   each use of asyncio.as_completed: may it be moved?
loops       how a loop over asyncio.as_completed is rewritten
bounded     --simplify: a semaphore around each child becomes limit=
cleanups    --simplify: cancel the rest, gather again and raise, which goes without saying
handed_on   what other modules import from one: it stays
imports     the names that are imported, and those that are no longer needed
rules       the reasons and the recipes

module      a parsed source text: who stands in what, what a name stands for
scopes      what each name is bound to, scope by scope
text        where in the text a node stands; edits

`import structgather` imports none of this.
"""
