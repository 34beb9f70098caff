"""`structgather migrate`: move a code base from asyncio's calls to structgather's.

cli       the command: arguments, files one by one, the exit code
config    what a project says of itself: what it excludes, how long its lines are
report    what is printed: a diff, findings, a summary; or JSON
syntax    which Python parses what this one does not
files     which files; how they are read and, all at once, written
project   what the files take from one another, and replace in one another

rewrite   one source text: what was found in it, and how it reads afterwards
rules     the table: each reason, whether the use is moved, what to write instead
uses      what is known of one use: its children, and what their failure leads to
gathers   of asyncio.gather: what becomes of its Future
loops     of asyncio.as_completed: whether its loop can become a block, and the block
imports   the names that are imported, and those that are no longer needed

flow      where children come from, and what runs when one of them fails
names     what each name stands for, and what flows into it
module    a parsed module: its text, its names, and what stands in what
text      where in the text a node stands; edits

`import structgather` imports none of this.
"""
