"""The log: one line an event, as text for people or as JSON for programs, with what it belongs to.

A request's id and a job's id are bound to the context in which they are worked on, so that every line that is
written there carries them.
"""

import logging
import sys
from typing import Literal

import structlog

LogFormat = Literal["text", "json"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]

_REQUEST = "request_id"


def configure(form: LogFormat, level: LogLevel = "INFO") -> None:
    """Sends the log of this process, that of libraries too, to standard error."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(colors=False)]
        if form == "text"
        else [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(), _without_colours],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # tells of itself whenever a schema is looked at


def _without_colours(
    _logger: object, _name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    event.pop("color_message", None)  # uvicorn's second version of its text
    return event


def bind(**ids: str | None) -> None:
    """Adds ids to every line that this context writes from now on; `None` adds nothing."""
    known = {name: value for name, value in ids.items() if value is not None}
    structlog.contextvars.bind_contextvars(**known)


def unbind() -> None:
    """Forgets what was bound to this context."""
    structlog.contextvars.clear_contextvars()


def request_id() -> str | None:
    """The id of the request that is worked on here, if there is one."""
    bound = structlog.contextvars.get_contextvars().get(_REQUEST)
    return None if bound is None else str(bound)
