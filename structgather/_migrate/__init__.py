"""`structgather migrate`: move a code base from asyncio's calls to structgather's.

cli       the command: arguments, files one by one, the exit code
config    what a project says of itself: what it excludes, how long its lines are
files     which files; how they are read, checked and, all at once, written
report    what is printed: a diff, findings, a summary; or JSON
project   what the files take from one another, and patch in one another

rewrite   one source text: what was found in it, and how it reads afterwards
rules     the table: each reason, the verdict, what to do about it
uses      what is known of one use: its children, and what their failure leads to
gathers   of asyncio.gather: how its Future is used
loops     of asyncio.as_completed: whether its loop can become a block, and the block
imports   the names that are imported, and those that are no longer needed

flow      where children come from, and what runs when one of them fails
module    a parsed module: its text, its names, and what stands in what
names     one pass over the tree: what each name stands for, and what flows into it
text      where in the text a node stands; edits

A text is parsed once (names, module). Each use of asyncio's functions in it is an object (uses,
gathers, loops) with an attribute for each rule that may apply to it; the first rule of the table
(rules) decides. What is moved becomes edits (rewrite, loops, imports), which are checked before
they are written (files).

`import structgather` imports none of this.
"""
