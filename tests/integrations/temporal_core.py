"""Parts of the SDK's core around a workflow: its instance, its jobs, its replay."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from temporalio import workflow
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.enums.v1 import EventType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.bridge.proto.workflow_activation import WorkflowActivationJob
from temporalio.bridge.proto.workflow_commands import WorkflowCommand
from temporalio.client import WorkflowHistory
from temporalio.converter import DataConverter
from temporalio.worker import Replayer, WorkflowRunner
from temporalio.worker._workflow_instance import WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox._runner import _fake_info

#: The names of events begin with it.
PREFIX = "EVENT_TYPE_"
SECOND = 10**9

Job = Callable[[WorkflowActivationJob], None]


def payload(value: Any) -> Payload:
    return DataConverter.default.payload_converter.to_payloads([value])[0]


def value(payload: Payload) -> Any:
    return DataConverter.default.payload_converter.from_payloads([payload])[0]


def replay(cls: type, history: WorkflowHistory) -> None:
    """Replay a history with the SDK's core, which raises if the workflow differs from it."""

    async def main() -> None:
        await Replayer(workflows=[cls]).replay_workflow(history)

    asyncio.run(main())


def swap(history: WorkflowHistory, name: str) -> None:
    """Exchange the attributes of the first two events of a kind."""
    number = EventType.Value(PREFIX + name)
    first, second = [event for event in history.events if event.event_type == number][:2]
    copy = HistoryEvent()
    copy.CopyFrom(first)
    for event, other in (first, second), (second, copy):
        event_id = event.event_id
        event.CopyFrom(other)
        event.event_id = event_id


def instance_of(cls: type, runner: WorkflowRunner) -> WorkflowInstance:
    """Make an instance of a workflow, as the SDK's worker does."""
    definition = workflow._Definition.must_from_class(cls)
    details = WorkflowInstanceDetails(
        payload_converter_factory=DataConverter.default._new_payload_converter,
        failure_converter_class=DataConverter.default.failure_converter_class,
        interceptor_classes=[],
        defn=definition,
        info=replace(_fake_info, workflow_type=definition.name or "", task_queue="queue"),
        randomness_seed=1,
        extern_functions={},
        disable_eager_activity_execution=True,
        worker_level_failure_exception_types=[],
        patch_activation_callback=None,
        last_completion_result=Payloads(),
        last_failure=Failure(),
    )

    async def create() -> WorkflowInstance:
        return runner.create_instance(details)

    return asyncio.run(create())


def describe(command: WorkflowCommand) -> str:
    """Describe the commands of a workflow in few words."""
    match command.WhichOneof("variant"):
        case "start_timer":
            seconds = command.start_timer.start_to_fire_timeout.ToNanoseconds() / SECOND
            return f"timer {command.start_timer.seq}: {seconds:g} s"
        case "cancel_timer":
            return f"cancel timer {command.cancel_timer.seq}"
        case "schedule_activity":
            return f"activity {command.schedule_activity.activity_type}"
        case "request_cancel_activity":
            return f"cancel activity {command.request_cancel_activity.seq}"
        case other:
            return str(other).removesuffix("_workflow_execution")


def resolve(job: WorkflowActivationJob, seq: int) -> Any:
    job.resolve_activity.seq = seq
    return job.resolve_activity.result


def resolve_cancelled(job: WorkflowActivationJob, seq: int, name: str) -> None:
    failure = resolve(job, seq).cancelled.failure
    failure.message = "Activity cancelled"
    failure.activity_failure_info.activity_type.name = name
    failure.cause.message = "cancelled"
    failure.cause.canceled_failure_info.SetInParent()


def without_what_was_undone(commands: list[WorkflowCommand]) -> list[WorkflowCommand]:
    """Leave out what was started and cancelled within one workflow task, as the core does."""
    started = {c.start_timer.seq for c in commands if c.HasField("start_timer")}
    scheduled = {c.schedule_activity.seq for c in commands if c.HasField("schedule_activity")}
    timers = started & {c.cancel_timer.seq for c in commands if c.HasField("cancel_timer")}
    activities = scheduled & {
        c.request_cancel_activity.seq for c in commands if c.HasField("request_cancel_activity")
    }
    return [
        command
        for command in commands
        if not (
            (command.HasField("start_timer") and command.start_timer.seq in timers)
            or (command.HasField("cancel_timer") and command.cancel_timer.seq in timers)
            or (
                command.HasField("schedule_activity")
                and command.schedule_activity.seq in activities
            )
            or (
                command.HasField("request_cancel_activity")
                and command.request_cancel_activity.seq in activities
            )
        )
    ]
