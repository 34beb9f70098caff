"""Runs one workflow as a Temporal server and the SDK's core do, in this process and virtual time.

The workflow runs on the SDK's own loop and is driven by activations, as the core would make them.
Its commands become history events; timers fire and activities finish in virtual time. The history
can be replayed with `temporalio.worker.Replayer`, whose real core refuses any difference.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from integrations.temporal_core import (
    PREFIX,
    SECOND,
    Job,
    describe,
    instance_of,
    payload,
    resolve,
    resolve_cancelled,
    value,
    without_what_was_undone,
)
from temporalio.api.enums.v1 import EventType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.bridge.proto.workflow_activation import WorkflowActivation, WorkflowActivationJob
from temporalio.bridge.proto.workflow_commands import ActivityCancellationType, WorkflowCommand
from temporalio.client import WorkflowHistory
from temporalio.worker import UnsandboxedWorkflowRunner, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

BEGIN = 1_700_000_000 * SECOND
#: The latency from an event to its workflow task.
LATENCY = SECOND // 1_000
#: A flag of the SDK's core, set in each history that it writes.
ID_AND_TYPE_DETERMINISM_CHECKS = 1


class Activity(NamedTuple):
    """How an activity finishes, and when."""

    seconds: float
    result: Any = None  #: a value, or an exception that it raises
    cleanup: float = 0  #: seconds until it has stopped, if its cancellation is waited for


@dataclass
class Ended:
    """How a workflow finished."""

    commands: list[str]
    history: WorkflowHistory
    result: Any = None
    failure: str | None = None
    cancelled: bool = False

    @property
    def seconds(self) -> float:
        """How long it ran, by the server's clock, without latencies."""
        last = self.history.events[-1].event_time.ToNanoseconds()
        return round((last - BEGIN) / SECOND, 1)


class Server:
    """One workflow, from its start to its finish."""

    def __init__(
        self,
        cls: type,
        activities: Mapping[str, Activity],
        *,
        cancelled_at: float | None = None,
        sandboxed: bool = False,
        runner: WorkflowRunner | None = None,
    ) -> None:
        if runner is None:
            runner = SandboxedWorkflowRunner() if sandboxed else UnsandboxedWorkflowRunner()
        self.instance = instance_of(cls, runner)
        self.name = cls.__name__
        self.activities = activities
        self.now = BEGIN
        self.commands: list[str] = []
        self.events: list[HistoryEvent] = []
        self.ended: Ended | None = None
        #: Future events: their times, their order, and the job of each for the workflow if it still
        #: waits for it.
        self._outside: list[tuple[int, int, Callable[[], Job | None]]] = []
        self._order = 0
        #: By the workflow's own numbers: the events that started its running timers and activities.
        self._timers: dict[int, int] = {}
        self._running: dict[int, tuple[int, str]] = {}
        self._waits_for_cancellation: set[int] = set()
        if cancelled_at is not None:
            self._later(cancelled_at, self._cancel)

    def run(self, *, until: float | None = None) -> Ended:
        """Run the workflow until it finishes, or for `until` seconds."""
        started = self._event(
            "WORKFLOW_EXECUTION_STARTED"
        ).workflow_execution_started_event_attributes
        started.workflow_type.name = self.name
        started.task_queue.name = "queue"
        started.original_execution_run_id = started.first_execution_run_id = "run"
        started.attempt = 1
        self._workflow_task([self._initialize])
        while self.ended is None and self._outside:
            due = self._outside[0][0]
            if until is not None and due > BEGIN + until * SECOND:
                break
            jobs: list[Job] = []
            self.now = due
            while self._outside and self._outside[0][0] <= due + LATENCY:
                job = heapq.heappop(self._outside)[2]()
                if job is not None:
                    jobs.append(job)
            if jobs:
                self._workflow_task(jobs)
        return self.ended or Ended(self.commands, self._history())

    def evict(self) -> None:
        """Drop the workflow from the worker's cache: it raises if the workflow leaves a task."""
        self._activate([lambda job: job.remove_from_cache.SetInParent()])

    # Events from outside

    def _later(self, seconds: float, happen: Callable[[], Job | None]) -> None:
        self._order += 1
        due = self.now + round(seconds * 1000) * (SECOND // 1000)
        heapq.heappush(self._outside, (due, self._order, happen))

    def _initialize(self, job: WorkflowActivationJob) -> None:
        job.initialize_workflow.workflow_type = self.name
        job.initialize_workflow.workflow_id = "workflow"

    def _cancel(self) -> Job:
        event = self._event("WORKFLOW_EXECUTION_CANCEL_REQUESTED")
        event.workflow_execution_cancel_requested_event_attributes.SetInParent()
        return lambda job: job.cancel_workflow.SetInParent()

    def _fire(self, seq: int) -> Job | None:
        if seq not in self._timers:
            return None
        event = self._event("TIMER_FIRED").timer_fired_event_attributes
        event.timer_id, event.started_event_id = str(seq), self._timers.pop(seq)
        return lambda job: setattr(job.fire_timer, "seq", seq)

    def _finish(self, seq: int, result: Any) -> Job | None:
        if seq not in self._running:
            return None
        scheduled, name = self._running.pop(seq)
        started = self._event("ACTIVITY_TASK_STARTED")
        started.activity_task_started_event_attributes.scheduled_event_id = scheduled
        if isinstance(result, BaseException):
            failure = Failure(message=f"{name} failed")
            failure.activity_failure_info.activity_type.name = name
            failure.cause.message = str(result)
            failure.cause.application_failure_info.type = type(result).__name__
            failed = self._event("ACTIVITY_TASK_FAILED").activity_task_failed_event_attributes
            failed.scheduled_event_id, failed.started_event_id = scheduled, started.event_id
            failed.failure.CopyFrom(failure.cause)
            return lambda job: resolve(job, seq).failed.failure.CopyFrom(failure)
        done = self._event("ACTIVITY_TASK_COMPLETED").activity_task_completed_event_attributes
        done.scheduled_event_id, done.started_event_id = scheduled, started.event_id
        done.result.payloads.append(payload(result))
        return lambda job: resolve(job, seq).completed.result.CopyFrom(payload(result))

    def _stopped(self, seq: int, requested: int) -> Job | None:
        if seq not in self._running:
            return None
        scheduled, name = self._running.pop(seq)
        started = self._event("ACTIVITY_TASK_STARTED")
        started.activity_task_started_event_attributes.scheduled_event_id = scheduled
        event = self._event("ACTIVITY_TASK_CANCELED").activity_task_canceled_event_attributes
        event.scheduled_event_id, event.started_event_id = scheduled, started.event_id
        event.latest_cancel_requested_event_id = requested
        return lambda job: resolve_cancelled(job, seq, name)

    # Commands of the workflow

    def _activate(self, jobs: list[Job]) -> list[WorkflowCommand]:
        activation = WorkflowActivation(run_id="run")
        activation.timestamp.FromNanoseconds(self.now)
        for job in jobs:
            job(activation.jobs.add())
        completion = self.instance.activate(activation)
        assert not completion.HasField("failed"), completion.failed.failure.message
        return list(completion.successful.commands)

    def _workflow_task(self, jobs: list[Job]) -> None:
        scheduled = self._event("WORKFLOW_TASK_SCHEDULED")
        scheduled.workflow_task_scheduled_event_attributes.task_queue.name = "queue"
        self.now += LATENCY
        started = self._event("WORKFLOW_TASK_STARTED")
        started.workflow_task_started_event_attributes.scheduled_event_id = scheduled.event_id
        commands: list[WorkflowCommand] = []
        while jobs:
            new = self._activate(jobs)
            self.commands += map(describe, new)
            commands += new
            jobs = [job for command in new for job in self._resolved_at_once(command, commands)]
        event = self._event("WORKFLOW_TASK_COMPLETED")
        completed = event.workflow_task_completed_event_attributes
        completed.scheduled_event_id, completed.started_event_id = (
            scheduled.event_id,
            started.event_id,
        )
        # Otherwise the core compares no names on replay.
        completed.sdk_metadata.core_used_flags.append(ID_AND_TYPE_DETERMINISM_CHECKS)
        for command in without_what_was_undone(commands):
            self._obey(command, event.event_id)

    def _resolved_at_once(
        self, command: WorkflowCommand, commands: list[WorkflowCommand]
    ) -> list[Job]:
        # An activity whose cancellation is not waited for finishes within the same workflow task.
        if not command.HasField("request_cancel_activity"):
            return []
        seq = command.request_cancel_activity.seq
        never_left = [
            other.schedule_activity.activity_type
            for other in commands
            if other.HasField("schedule_activity") and other.schedule_activity.seq == seq
        ]
        if not never_left and seq in self._waits_for_cancellation:
            return []
        name = never_left[0] if never_left else self._running[seq][1]
        return [lambda job: resolve_cancelled(job, seq, name)]

    def _obey(self, command: WorkflowCommand, task: int) -> None:
        match command.WhichOneof("variant"):
            case "start_timer":
                self._start_timer(command, task)
            case "cancel_timer":
                seq = command.cancel_timer.seq
                event = self._event("TIMER_CANCELED").timer_canceled_event_attributes
                event.timer_id, event.started_event_id = str(seq), self._timers.pop(seq)
                event.workflow_task_completed_event_id = task
            case "schedule_activity":
                self._schedule(command, task)
            case "request_cancel_activity":
                self._request_cancel(command.request_cancel_activity.seq, task)
            case "complete_workflow_execution":
                payload = command.complete_workflow_execution.result
                done = self._event("WORKFLOW_EXECUTION_COMPLETED")
                attributes = done.workflow_execution_completed_event_attributes
                attributes.workflow_task_completed_event_id = task
                attributes.result.payloads.append(payload)
                self.ended = Ended(self.commands, self._history(), result=value(payload))
            case "fail_workflow_execution":
                failure = command.fail_workflow_execution.failure
                failed = self._event("WORKFLOW_EXECUTION_FAILED")
                failed.workflow_execution_failed_event_attributes.failure.CopyFrom(failure)
                cause = failure.cause.message or failure.message
                self.ended = Ended(self.commands, self._history(), failure=cause)
            case "cancel_workflow_execution":
                gone = self._event("WORKFLOW_EXECUTION_CANCELED")
                gone.workflow_execution_canceled_event_attributes.SetInParent()
                self.ended = Ended(self.commands, self._history(), cancelled=True)
            case other:
                raise NotImplementedError(other)

    def _start_timer(self, command: WorkflowCommand, task: int) -> None:
        start = command.start_timer
        seq = start.seq
        event = self._event("TIMER_STARTED")
        event.timer_started_event_attributes.timer_id = str(seq)
        event.timer_started_event_attributes.start_to_fire_timeout.CopyFrom(
            start.start_to_fire_timeout
        )
        event.timer_started_event_attributes.workflow_task_completed_event_id = task
        self._timers[seq] = event.event_id
        seconds = start.start_to_fire_timeout.ToNanoseconds() / SECOND
        self._later(seconds, lambda: self._fire(seq))

    def _schedule(self, command: WorkflowCommand, task: int) -> None:
        schedule = command.schedule_activity
        seq, name = schedule.seq, schedule.activity_type
        event = self._event("ACTIVITY_TASK_SCHEDULED")
        attributes = event.activity_task_scheduled_event_attributes
        attributes.activity_id = schedule.activity_id
        attributes.activity_type.name = name
        attributes.task_queue.name = schedule.task_queue
        attributes.start_to_close_timeout.CopyFrom(schedule.start_to_close_timeout)
        attributes.workflow_task_completed_event_id = task
        self._running[seq] = event.event_id, name
        wait = ActivityCancellationType.WAIT_CANCELLATION_COMPLETED
        if schedule.cancellation_type == wait:
            self._waits_for_cancellation.add(seq)
        activity = self.activities[name]
        self._later(activity.seconds, lambda: self._finish(seq, activity.result))

    def _request_cancel(self, seq: int, task: int) -> None:
        scheduled, name = self._running[seq]
        event = self._event("ACTIVITY_TASK_CANCEL_REQUESTED")
        attributes = event.activity_task_cancel_requested_event_attributes
        attributes.scheduled_event_id = scheduled
        attributes.workflow_task_completed_event_id = task
        if seq in self._waits_for_cancellation:
            requested = event.event_id
            self._later(self.activities[name].cleanup, lambda: self._stopped(seq, requested))
        else:
            del self._running[seq]

    def _event(self, name: str) -> HistoryEvent:
        event = HistoryEvent(
            event_id=len(self.events) + 1, event_type=EventType.Value(PREFIX + name)
        )
        event.event_time.FromNanoseconds(self.now)
        self.events.append(event)
        return event

    def _history(self) -> WorkflowHistory:
        return WorkflowHistory("workflow", self.events)
