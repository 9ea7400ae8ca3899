"""Celery's settings with their reasons. This module reads the environment once, at the start of a process.

Tasks are hints: any of them may be lost, doubled or late. So these settings affect promptness, not safety.
"""

from __future__ import annotations

from celery.schedules import schedule
from kombu.entity import Queue

from s6.adapters.clock import steady_now
from s6.settings import settings_or_exit

settings = settings_or_exit()

broker_url = settings.broker.url
broker_transport_options = {
    "socket_timeout": 10,
    "socket_connect_timeout": 2,
    "socket_keepalive": True,
    "health_check_interval": 15,
    "retry_on_timeout": False,
    "queue_order_strategy": "priority",
    **settings.broker.options,
}
broker_connection_retry_on_startup = True
broker_connection_max_retries = None  # a worker outlasts any outage of the broker
broker_connection_timeout = 2
broker_pool_limit = 10

imports = (
    "tasks.evaluation",
    "tasks.execution",
    "tasks.treasury",
    "tasks.snapshots",
    "tasks.alerts",
    "tasks.watchdog",
)
task_ignore_result = True
result_backend = None
task_acks_late = True  # a worker takes no more tasks than it has threads
task_publish_retry = False  # a hint that cannot be sent is dropped; the sweep sends another
task_default_priority = 6  # tasks that protect a position have 0 and go first (tasks.hints)
task_default_queue = "manage"
task_queues = [Queue(name) for name in ("execution", "manage", "sweep", "treasury", "snapshots", "upkeep")]
task_routes = {
    "tasks.execution.*": {"queue": "execution"},
    "tasks.evaluation.sweep": {"queue": "sweep"},
    "tasks.evaluation.*": {"queue": "manage"},
    "tasks.treasury.*": {"queue": "treasury"},
    "tasks.snapshots.*": {"queue": "snapshots"},
    "tasks.alerts.*": {"queue": "upkeep"},
}
task_serializer = "json"
accept_content = ["json"]
task_time_limit = 60
task_soft_time_limit = 45

worker_prefetch_multiplier = 1
worker_concurrency = settings.worker_threads
worker_pool = "threads"  # tasks mostly wait for HTTP calls, each of at most 3 s
worker_send_task_events = False  # Flower turns them on while it runs
worker_hijack_root_logger = False
worker_cancel_long_running_tasks_on_connection_loss = False

beat_scheduler = "tasks.beat:BeatScheduler"
beat_max_loop_interval = 1


def _every(seconds: float) -> schedule:
    """A period by a clock that is never set back."""
    return schedule(seconds, nowfun=steady_now)


# Nothing sent here expires: clocks of two hosts differ. What waits in a queue is bounded by tasks.beat instead.
beat_schedule = {
    "sweep": {"task": "tasks.evaluation.sweep", "schedule": _every(settings.manage_tick_s)},
    "treasury": {"task": "tasks.treasury.check", "schedule": _every(settings.treasury_tick_s)},
    "transfers": {"task": "tasks.treasury.sweep", "schedule": _every(5.0)},
    "snapshots": {"task": "tasks.snapshots.relay", "schedule": _every(0.5)},
    "alerts": {"task": "tasks.alerts.publish", "schedule": _every(1.0)},
}
enable_utc = True
timezone = "UTC"
