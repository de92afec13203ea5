"""Keys in browsers: a cookie that holds one, and proof that a request comes from a page of this service."""

import hashlib
import hmac

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import Scope

from app.problems import Forbidden

COOKIE = "vgae_nas_key"
"""The cookie in which a browser keeps the key that its user signed in with; scripts cannot read it."""

TOKEN = "x-csrf-token"  # nosec B105
"""The name of the header by which a page of this service proves itself."""

SAFE = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing."""


def key_of(scope: Scope) -> str:
    """The text of the key in a request's cookie; empty without one."""
    return cookie_parser(Headers(scope=scope).get("cookie", "")).get(COOKIE, "")


def token(text: str) -> str:
    """What pages send with changes: it follows from the key, which scripts cannot read."""
    return hmac.new(text.encode(), b"pages", hashlib.sha256).hexdigest()


def require_token(scope: Scope, text: str) -> None:
    """Refuses a change that a browser sends with its cookie alone, as pages of other sites can make it do.

    Raises:
        Forbidden: it has no token, or another key's.
    """
    given = Headers(scope=scope).get(TOKEN, "")
    if scope["method"] not in SAFE and not hmac.compare_digest(given.encode(), token(text).encode()):
        raise Forbidden("a change with a cookie needs the page's token in X-CSRF-Token; load the page again")


def require_same_site(scope: Scope) -> None:
    """Refuses changes that pages of other sites ask a browser for; other clients send no such headers.

    Raises:
        Forbidden: the request comes from another site.
    """
    headers = Headers(scope=scope)
    if scope["method"] in SAFE:
        return
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is None and origin is not None:
        host = origin.lower().partition("://")[2]
        site = "same-origin" if host == headers.get("host", "").lower() else "cross-site"
    if site not in (None, "same-origin", "none"):
        raise Forbidden("a page of another site asked for this; it must be a page of this service")
