"""The one list of differences from asyncio's functions, and of what is the same.

`test_differences.py` checks the documentation's tables against it, cell for cell, and that each row
names the tests that prove it. Each of these tests runs over both functions.
"""

from __future__ import annotations

from typing import NamedTuple

SAME = "the same"
REFERENCE = "structgather/README.md"


class Row(NamedTuple):
    """One row of a table: the three cells, and the tests, as `module::function`."""

    what: str
    theirs: str
    ours: str
    proofs: list[str]

    @property
    def cells(self) -> list[str]:
        """Return the printed cells."""
        return [self.what, self.theirs, self.ours]


class Table(NamedTuple):
    """A table, the document that has it, and the heading above it."""

    document: str
    heading: str
    theirs: str
    ours: str
    rows: list[Row]
    #: The statements of the documentation of asyncio's function: see `Said`.
    said: list[Said]

    @property
    def printed(self) -> list[list[str]]:
        """Return all cells of the table, including those of its first row."""
        return [["", self.theirs, self.ours], *(row.cells for row in self.rows)]


class Said(NamedTuple):
    """A statement of the documentation of asyncio's function.

    `begins` has the first words of each sentence that makes the statement in the docstring of one
    Python or another; none, if only the documentation's page makes it. As with a row, each of the
    tests runs over both functions; those of a module in UNLIKE_... show intended differences.
    """

    what: str
    begins: list[str]
    proofs: list[str]


LIKE_GATHER = "gather.test_same_as_asyncio"
UNLIKE_GATHER = "gather.test_differences_from_asyncio"
STARTS = "gather.test_start_of_children"

GATHER = Table(
    REFERENCE,
    "Differences from `asyncio.gather`",
    "`asyncio.gather`",
    "`gather_structured`",
    [
        Row(
            "takes",
            "coroutines, Tasks, Futures, objects with `__await__`, duplicates, nothing",
            SAME,
            [
                f"{LIKE_GATHER}::test_all_kinds_of_awaitables",
                f"{LIKE_GATHER}::test_a_duplicate_runs_once_and_fills_each_place",
                f"{LIKE_GATHER}::test_no_arguments",
                # Only one of the functions takes these.
                f"{UNLIKE_GATHER}::test_an_awaitable_that_cannot_be_hashed",
                f"{UNLIKE_GATHER}::test_a_plain_generator_is_not_a_coroutine",
            ],
        ),
        Row(
            "starts children",
            "in argument order, in the same loop iteration, each in a copy of the context",
            SAME,
            [
                f"{STARTS}::test_children_start_in_order_in_the_same_loop_iteration",
                f"{STARTS}::test_each_child_runs_in_a_copy_of_the_callers_context",
                f"{STARTS}::test_a_batching_loader_loads_one_batch",
            ],
        ),
        Row(
            "success",
            "a list in argument order",
            SAME,
            [
                f"{LIKE_GATHER}::test_values_are_in_argument_order",
                f"{LIKE_GATHER}::test_one_child",
            ],
        ),
        Row(
            "a child raises",
            "that exception; the siblings keep running",
            "the same object; the siblings were cancelled and have finished",
            [
                f"{LIKE_GATHER}::test_the_first_failure_by_time_is_raised",
                f"{LIKE_GATHER}::test_a_task_that_failed_first_is_raised",
                f"{UNLIKE_GATHER}::test_a_failure_cancels_and_joins_the_siblings",
                f"{UNLIKE_GATHER}::test_a_context_is_left_alone",
            ],
        ),
        Row(
            "failures of siblings",
            "dropped",
            "in the notes of the exception raised; all with `exception_group=True`",
            [
                f"{LIKE_GATHER}::test_a_failure_after_the_call_is_not_reported",
                f"{UNLIKE_GATHER}::test_no_failure_is_dropped",
                f"{UNLIKE_GATHER}::test_all_failures_in_one_group",
            ],
        ),
        Row(
            "`return_exceptions=True`",
            "exceptions in place, every child runs to completion",
            "the same, in a list that has `.exception_group()` and `.raise_failures()`",
            [
                f"{LIKE_GATHER}::test_return_exceptions",
                f"{UNLIKE_GATHER}::test_failures_as_a_group",
            ],
        ),
        Row(
            "a child cancels itself",
            "CancelledError to the caller; a value with `return_exceptions=True`",
            "the same, the siblings joined first",
            [
                f"{LIKE_GATHER}::test_a_child_that_cancels_itself",
                f"{LIKE_GATHER}::test_a_cancelled_child_does_not_cancel_its_siblings",
                f"{UNLIKE_GATHER}::test_a_child_that_cancels_itself_cancels_the_siblings",
            ],
        ),
        Row(
            "a child cancels itself, and returns before its next `await`",
            "CancelledError",
            "its value",
            [f"{UNLIKE_GATHER}::test_a_child_that_cancels_itself_and_returns"],
        ),
        Row(
            "the caller is cancelled",
            "children are cancelled; may return before they have finished",
            "children are cancelled and joined, then CancelledError propagates with its message",
            [
                f"{LIKE_GATHER}::test_a_cancelled_caller",
                f"{UNLIKE_GATHER}::test_a_cancelled_caller_waits_for_its_children",
            ],
        ),
        Row(
            "KeyboardInterrupt, SystemExit in a child",
            "propagates",
            "propagates, and never becomes a value",
            [
                f"{LIKE_GATHER}::test_interrupts_propagate",
                f"{UNLIKE_GATHER}::test_an_interrupt_never_becomes_a_value",
            ],
        ),
        Row(
            "a bad argument",
            "an error; what was started before keeps running",
            'the same error before anything has started; no "never awaited"',
            [
                f"{LIKE_GATHER}::test_an_argument_that_is_not_awaitable",
                f"{LIKE_GATHER}::test_all_futures_are_of_the_same_loop",
                f"{UNLIKE_GATHER}::test_a_bad_argument_starts_nothing",
                f"{UNLIKE_GATHER}::test_a_bad_argument_leaves_no_coroutine",
            ],
        ),
        Row(
            "the Task of a child",
            "has the child's coroutine",
            "has a coroutine around it, of the same name; `get_stack()` shows that one's line",
            [f"{UNLIKE_GATHER}::test_the_coroutine_of_a_childs_task"],
        ),
        Row(
            "without `await`",
            "a running Future",
            "a coroutine, for `wait_for`, `timeout`, `shield`, `create_task`, `run`",
            [
                f"{LIKE_GATHER}::test_a_call_in_a_timeout_a_shield_or_a_task",
                f"{UNLIKE_GATHER}::test_nothing_runs_before_it_is_awaited",
                f"{UNLIKE_GATHER}::test_it_can_be_passed_to_create_task",
                f"{UNLIKE_GATHER}::test_it_can_be_passed_to_asyncio_run",
                f"{UNLIKE_GATHER}::test_awaiting_it_twice",
            ],
        ),
    ],
    [
        Said(
            "It runs awaitables concurrently and returns a Future",
            ["Return a future aggregating results"],
            [
                f"{LIKE_GATHER}::test_all_kinds_of_awaitables",
                f"{UNLIKE_GATHER}::test_nothing_runs_before_it_is_awaited",
            ],
        ),
        Said(
            "Coroutines are scheduled as Tasks",
            ["Coroutines will be wrapped", "They will not necessarily be scheduled"],
            [f"{STARTS}::test_children_start_in_order_in_the_same_loop_iteration"],
        ),
        Said(
            "All Futures belong to one loop",
            ["All futures must share"],
            [f"{LIKE_GATHER}::test_all_futures_are_of_the_same_loop"],
        ),
        Said(
            "Success is a list of the values in the order of the arguments",
            ["If all the tasks are done successfully"],
            [f"{LIKE_GATHER}::test_values_are_in_argument_order"],
        ),
        Said(
            "With return_exceptions, exceptions are values; else the first is raised at once",
            ["If *return_exceptions* is True"],
            [
                f"{LIKE_GATHER}::test_return_exceptions",
                f"{LIKE_GATHER}::test_the_first_failure_by_time_is_raised",
            ],
        ),
        Said(
            "Without it the others run on after a failure",
            [],
            [f"{UNLIKE_GATHER}::test_a_failure_cancels_and_joins_the_siblings"],
        ),
        Said(
            "If it is cancelled, so is what has not completed, whatever return_exceptions says",
            ["Cancellation: if the outer Future is cancelled"],
            [
                f"{LIKE_GATHER}::test_a_cancelled_caller",
                f"{LIKE_GATHER}::test_a_cancelled_call_does_not_cancel_finished_children",
                f"{LIKE_GATHER}::test_a_shielded_child_outlives_the_call",
            ],
        ),
        Said(
            "A cancelled child has raised CancelledError: it cancels neither call nor children",
            ["If any child is cancelled", "(This is to prevent"],
            [
                f"{LIKE_GATHER}::test_a_child_that_cancels_itself",
                f"{LIKE_GATHER}::test_a_cancelled_child_does_not_cancel_its_siblings",
                f"{UNLIKE_GATHER}::test_a_child_that_cancels_itself_cancels_the_siblings",
            ],
        ),
        Said(
            "To cancel a call that is over cancels no child",
            ["If *return_exceptions* is False, cancelling", "For instance, gather can be marked"],
            [f"{LIKE_GATHER}::test_a_finished_call_cannot_be_cancelled"],
        ),
        Said(
            "Where no loop runs, Futures can be gathered, and nothing else",
            [],
            [
                f"{LIKE_GATHER}::test_futures_can_be_gathered_outside_the_loop",
                f"{UNLIKE_GATHER}::test_it_can_be_passed_to_asyncio_run",
            ],
        ),
    ],
)

LIKE = "as_completed.test_same_as_asyncio"
UNLIKE = "as_completed.test_differences_from_asyncio"

AS_COMPLETED = Table(
    REFERENCE,
    "Differences from `asyncio.as_completed`",
    "`asyncio.as_completed`",
    "`as_completed_scoped`",
    [
        Row(
            "takes",
            "an iterable of coroutines, Tasks, Futures, objects with `__await__`",
            "the same, and async iterables",
            [f"{LIKE}::test_any_iterable_of_any_awaitables", f"{UNLIKE}::test_async_iterables"],
        ),
        Row(
            "duplicates",
            "run once, are yielded once",
            "an error before anything has started",
            [f"{UNLIKE}::test_one_task_twice"],
        ),
        Row(
            "a generator",
            "is exhausted first (3.11: refused)",
            "with `limit` is pulled no further ahead than that",
            [f"{UNLIKE}::test_a_generator_is_pulled_lazily"],
        ),
        Row(
            "a bad item",
            "an error; what was started before keeps running",
            "the same error before anything has started",
            [
                f"{LIKE}::test_a_single_awaitable_is_refused",
                f"{LIKE}::test_it_needs_a_running_loop",
                f"{UNLIKE}::test_a_bad_item_starts_nothing",
            ],
        ),
        Row(
            "starts children",
            "all at once, in the order of a set",
            "all at once, in the order of the input",
            [
                f"{LIKE}::test_children_run_concurrently",
                f"{UNLIKE}::test_the_order_in_which_children_start",
            ],
        ),
        Row(
            "is used with",
            "`for`; since 3.13 also `async for`",
            "`async with`, and `async for` in it",
            [
                f"{LIKE}::test_a_body_written_for_asyncio_runs_unchanged",
                f"{LIKE}::test_no_item_is_lost_after_a_break",
                f"{UNLIKE}::test_ways_to_iterate",
            ],
        ),
        Row(
            "an item",
            "the next to finish, to be awaited; with `async for` the Task itself",
            "the same; knows its `index`, how it finished, how long it took",
            [
                f"{LIKE}::test_the_earliest_come_first",
                f"{UNLIKE}::test_an_item_knows_its_index",
            ],
        ),
        Row(
            "a child raises, or cancels itself",
            "the `await` of its item raises it; the loop may continue",
            SAME,
            [
                f"{LIKE}::test_an_exception_is_raised_where_the_item_is_awaited",
                f"{LIKE}::test_a_child_that_cancels_itself",
            ],
        ),
        Row(
            "a child cancels itself, and returns before its next `await`",
            "CancelledError",
            "its value",
            [f"{UNLIKE}::test_a_child_that_cancels_itself_and_returns"],
        ),
        Row(
            "KeyboardInterrupt, SystemExit in a child",
            "propagates",
            SAME,
            [f"{LIKE}::test_an_interrupt_propagates"],
        ),
        Row(
            "meanwhile",
            "",
            "`add()` a child, `cancel()` all, `len()` of the outcomes to come",
            [
                f"{UNLIKE}::test_add_and_cancel_during_the_iteration",
                f"{UNLIKE}::test_the_number_of_outcomes_to_come",
            ],
        ),
        Row(
            "the loop is left by `break`, `return`, an exception",
            "the others keep running",
            "they are cancelled and have finished",
            [f"{UNLIKE}::test_leaving_the_loop_early"],
        ),
        Row(
            "outcomes that were not taken",
            "lost",
            "in `undelivered`",
            [f"{UNLIKE}::test_outcomes_that_were_not_taken"],
        ),
        Row(
            "the caller is cancelled",
            "the children keep running",
            "they are cancelled and have finished",
            [f"{UNLIKE}::test_a_cancelled_caller"],
        ),
        Row(
            "`timeout` is over",
            "TimeoutError; the late ones keep running",
            "TimeoutError; the late ones are cancelled and have finished",
            [
                f"{LIKE}::test_a_timeout_raises_timeout_error",
                f"{LIKE}::test_a_timeout_that_is_not_reached",
                f"{UNLIKE}::test_children_after_a_timeout",
            ],
        ),
    ],
    [
        Said(
            "It runs awaitables concurrently, and is iterated for their results as they finish",
            [
                "Return an iterator whose values",
                "Create an iterator of awaitables",
                "Run the supplied awaitables",
                "The returned object can be iterated",
                "When waiting for the yielded",
            ],
            [
                f"{LIKE}::test_the_earliest_come_first",
                f"{LIKE}::test_children_run_concurrently",
                f"{LIKE}::test_any_iterable_of_any_awaitables",
            ],
        ),
        Said(
            "It can be iterated with `for`, and with `async for`",
            ["The object returned can be iterated", "This differs from PEP 3148"],
            [
                f"{LIKE}::test_a_body_written_for_asyncio_runs_unchanged",
                f"{UNLIKE}::test_ways_to_iterate",
            ],
        ),
        Said(
            "`async for` yields the Tasks and Futures given, and Tasks for whatever else was given",
            [
                "When asynchronous iteration is used",
                "This makes it easy to correlate",
                "During asynchronous iteration",
            ],
            [
                f"{LIKE}::test_the_earliest_come_first",
                f"{LIKE}::test_an_item_is_not_the_coroutine_that_was_passed",
            ],
        ),
        Said(
            "`for` yields coroutines, which return or raise what the next child to end does",
            [
                "When used as a plain iterator",
                "This pattern is compatible",
                "Note: The futures 'f' are not necessarily",
            ],
            [
                f"{LIKE}::test_an_exception_is_raised_where_the_item_is_awaited",
                f"{UNLIKE}::test_an_item_knows_its_index",
            ],
        ),
        Said(
            "TimeoutError is raised if the time is over before all are done",
            ["A TimeoutError is raised", "This is raised by", "If a timeout is specified"],
            [
                f"{LIKE}::test_a_timeout_raises_timeout_error",
                f"{LIKE}::test_a_timeout_that_is_not_reached",
            ],
        ),
        Said(
            "There must be a loop that runs",
            [],
            [f"{LIKE}::test_it_needs_a_running_loop"],
        ),
    ],
)

TABLES = [GATHER, AS_COMPLETED]
