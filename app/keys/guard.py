"""What stands before every endpoint: who asks, whether they may, and how often they have."""

import logging
import time
from collections.abc import Sequence

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage, RedisStorage, Storage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.database import Database
from app.keys import browser, service
from app.keys.tables import Key, KeyScope
from app.owners import acting
from app.problems import Forbidden, Problem, TooManyRequests, Unauthorized, of_database, response
from app.settings import Settings

logger = logging.getLogger(__name__)

PUBLIC = (
    "/healthz",
    "/readyz",
    "/docs",
    "/redoc",
    "/openapi.json",
    "/static-offline-docs",
    "/static",
    "/login",
)
"""Paths that need no key: probes, and what tells nothing of what is stored."""

KEYS = "/v1/keys"

FRESH_SECONDS = 1.0
"""Time after which a key that was made or revoked elsewhere is known here."""

REDIS_SECONDS = 1.0
"""Time in which Redis must answer; a request is not refused because it does not."""


class Guard:
    """Knows the keys, as they were a moment ago, and counts what they are used for.

    Args:
        database: where they are kept.
        settings: of the service.
    """

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database, self.settings = database, settings
        self._limiter = MovingWindowRateLimiter(_storage(settings.broker_url))
        self._keys: dict[str, Key] = {}
        self._noted: dict[str, float] = {}
        self._read_at = float("-inf")

    async def admit(self, scope: Scope) -> Key | None:
        """The key of a request that may pass; `None` where none is needed.

        Raises:
            Unauthorized: a key is needed, and none that opens was given.
            Forbidden: the key does not open this, or a page of another site asks for it.
            Unavailable: the keys cannot be read.
        """
        browser.require_same_site(scope)
        if self.settings.open or _is_public(scope["path"]):
            return None
        await self._read()
        if not self._keys:
            return None
        text = _bearer(scope)
        if not text and (text := browser.key_of(scope)):
            browser.require_token(scope, text)
        key = self._keys.get(service.digest(text))
        if key is None:
            raise Unauthorized(
                "needs a key of this service, as `Authorization: Bearer nas_…`; whoever runs it makes them "
                "by `vgae-nas keys create`"
            )
        needed = _needed(scope)
        if not key.scope.opens(needed):
            raise Forbidden(f"key {key.name!r} is for {key.scope.value}; this needs {needed.value}")
        await self._note(key)
        return key

    async def count(self, key: Key, scope: Scope) -> "Allowance | None":
        """What a key has left after this request; `None` where its requests are not counted.

        Raises:
            TooManyRequests: it had nothing left.
        """
        rate = key.rate or self.settings.rate
        if not rate:
            return None
        item = parse(rate)
        try:
            passed = await self._limiter.hit(item, key.id)
            stats = await self._limiter.get_window_stats(item, key.id)
        except (StorageError, OSError) as error:
            logger.warning("requests are not counted (%s)", error)
            return None
        allowance = Allowance("rate", item, stats.remaining, stats.reset_time)
        if not passed:
            raise TooManyRequests(f"key {key.name!r} may send {item}", allowance.seconds)
        return allowance

    async def require_quota(self, key: Key) -> None:
        """Refuses a key that has started as many jobs as it may.

        Raises:
            TooManyRequests: it has.
        """
        if key.quota is None:
            return
        item = parse(key.quota)
        try:
            left = await self._limiter.test(item, "jobs", key.id)
            stats = await self._limiter.get_window_stats(item, "jobs", key.id)
        except (StorageError, OSError) as error:
            logger.warning("jobs are not counted (%s)", error)
            return
        if not left:
            allowance = Allowance("quota", item, 0, stats.reset_time)
            raise TooManyRequests(f"key {key.name!r} may start jobs {item}", allowance.seconds)

    async def count_job(self, key: Key) -> None:
        """Counts a request that started jobs."""
        if key.quota is not None:
            try:
                await self._limiter.hit(parse(key.quota), "jobs", key.id)
            except (StorageError, OSError) as error:
                logger.warning("jobs are not counted (%s)", error)

    async def _read(self) -> None:
        if time.monotonic() - self._read_at < FRESH_SECONDS:
            return
        self._read_at = time.monotonic()  # who comes meanwhile takes what is known

        def living() -> Sequence[Key]:
            with self.database.session(reads_only=True) as session:
                return service.living(session)

        try:
            self._keys = {key.digest: key for key in await run_in_threadpool(living)}
        except SQLAlchemyError as error:
            self._read_at = float("-inf")
            logger.error("keys: %s", error)
            raise of_database(error) from None  # type: ignore[arg-type]

    async def _note(self, key: Key) -> None:
        moment = time.monotonic()
        if moment - self._noted.get(key.id, float("-inf")) < service.NOTED_EVERY.total_seconds():
            return
        self._noted[key.id] = moment

        def note() -> None:
            with self.database.session() as session:
                service.note_use(session, key.id)

        try:
            await run_in_threadpool(note)
        except SQLAlchemyError as error:
            logger.warning("the use of a key is not kept (%s)", error)


class Allowance:
    """What is left to a key until a moment.

    Args:
        policy: its name in headers.
        item: the limit.
        left: requests.
        until: seconds since 1970.
    """

    def __init__(self, policy: str, item: RateLimitItem, left: int, until: float) -> None:
        self.policy, self.item, self.left = policy, item, left
        self.seconds = max(1, round(until - time.time()))

    def headers(self) -> list[tuple[bytes, bytes]]:
        """As the IETF's draft on `RateLimit` header fields has it."""
        window = self.item.get_expiry()
        return [
            (b"ratelimit-policy", f'"{self.policy}";q={self.item.amount};w={window}'.encode()),
            (b"ratelimit", f'"{self.policy}";r={self.left};t={self.seconds}'.encode()),
        ]


class KeyMiddleware:
    """Lets requests pass that may; `scope["caller"]` is the id of the key, or empty.

    Args:
        app: the application inside.
        guard: knows the keys.
    """

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self.app, self.guard = app, guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        added: list[tuple[bytes, bytes]] = []
        try:
            key = await self.guard.admit(scope)
            scope["caller"] = "" if key is None else key.id
            if key is not None:
                allowance = await self.guard.count(key, scope)
                added = [] if allowance is None else allowance.headers()
                if scope["method"] == "POST":
                    await self.guard.require_quota(key)
        except Problem as problem:
            return await response(problem)(scope, receive, send)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *added]
                if key is not None and scope["method"] == "POST" and message["status"] == 202:
                    await self.guard.count_job(key)
            await send(message)

        # an admin's sees everything, and what it makes is shared
        sees = None if key is None or key.scope is KeyScope.ADMIN else key.id
        with acting(sees):
            await self.app(scope, receive, answer)


def _storage(broker_url: str) -> Storage:
    """Redis where the broker is one, so that all processes count together, else memory."""
    if broker_url.startswith("redis"):
        return RedisStorage(
            f"async+{broker_url}",
            implementation="redispy",
            socket_timeout=REDIS_SECONDS,
            socket_connect_timeout=REDIS_SECONDS,
            wrap_exceptions=True,
        )
    return MemoryStorage()


def _is_public(path: str) -> bool:
    return any(path == name or path.startswith(f"{name}/") for name in PUBLIC)


def _needed(scope: Scope) -> KeyScope:
    if scope["path"] == KEYS or scope["path"].startswith(f"{KEYS}/"):
        return KeyScope.ADMIN
    return KeyScope.READ if scope["method"] in browser.SAFE else KeyScope.WRITE


def _bearer(scope: Scope) -> str:
    """The text of the key in a request's header; empty without one."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            kind, _, text = value.decode("latin-1").partition(" ")
            return str(text.strip()) if kind.lower() == "bearer" else ""
    return ""
