"""S3 requests signed with AWS Signature Version 4, as far as it takes to see buckets and how they are locked.

Not here: any other use of object storage (`store.object_storage`, which needs a library that sites may lack).
"""

import datetime as dt
import hashlib
import hmac
import re
import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec

from isthmus.check.environment import web

_BUCKET: Final = re.compile(rb"<Bucket>.*?<Name>([^<]{1,255})</Name>", re.DOTALL)
_CODE: Final = re.compile(rb"<Code>([A-Za-z]{1,100})</Code>")
_MOST: Final = 20


class Account(msgspec.Struct, frozen=True):
    """Where the storage is and with which keys it is asked; never shown."""

    endpoint: str
    region: str
    access_key: str
    secret_key: str
    address: str = ""


class Locking(msgspec.Struct, frozen=True):
    """How many buckets were looked at, which have object lock, and how the server refuses to say."""

    buckets: int
    locked: tuple[str, ...]
    versioned: tuple[str, ...]
    refused: tuple[str, ...]


def buckets(account: Account, context: ssl.SSLContext) -> tuple[str, ...]:
    """The names of all buckets (ListBuckets). Raises OSError, or ValueError with the server's own code."""
    reply = _ask(account, "/", "", context)
    if reply.status != 200:
        raise ValueError(f"listing buckets is refused: {reply.status} {_code(reply)}".rstrip())
    return tuple(name.decode("utf-8", "replace") for name in _BUCKET.findall(reply.body))


def locking(account: Account, names: tuple[str, ...], context: ssl.SSLContext) -> Locking:
    """What buckets say of object lock and versioning (GetObjectLockConfiguration, GetBucketVersioning)."""
    locked, versioned, refused = [], [], []
    for name in names[:_MOST]:
        path = f"/{quote(name, safe='')}"
        reply = _ask(account, path, "object-lock=", context)
        code = _code(reply)
        if reply.status == 200 and b"<ObjectLockEnabled>Enabled<" in reply.body:
            locked.append(name)
        elif reply.status != 200 and code not in ("ObjectLockConfigurationNotFoundError", "NoSuchBucket"):
            refused.append(f"{reply.status} {code}".rstrip())
        if b"<Status>Enabled<" in _ask(account, path, "versioning=", context).body:
            versioned.append(name)
    return Locking(len(names[:_MOST]), tuple(locked), tuple(versioned), tuple(sorted(set(refused))))


def _code(reply: web.Reply) -> str:
    found = _CODE.search(reply.body)
    return found[1].decode() if found else ""


def _ask(account: Account, path: str, query: str, context: ssl.SSLContext) -> web.Reply:
    base = account.endpoint.rstrip("/")
    url = f"{base}{path}" + (f"?{query}" if query else "")
    headers = signed_headers(account, "GET", url, dt.datetime.now(dt.UTC))
    return web.ask("GET", url, context, address=account.address, headers=headers)


def signed_headers(
    account: Account, method: str, url: str, now: dt.datetime, more: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The headers of a request without a body (AWS, "Signature Version 4 signing process").

    `more` are others to send and sign, with names in lower case.
    """
    parts = urlsplit(url)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    nothing = hashlib.sha256(b"").hexdigest()
    headers = {"host": parts.netloc, "x-amz-content-sha256": nothing, "x-amz-date": stamp, **(more or {})}
    names = ";".join(sorted(headers))
    canonical = "\n".join(
        [
            method,
            parts.path or "/",
            "&".join(sorted(parts.query.split("&"))) if parts.query else "",
            *(f"{name}:{headers[name]}" for name in sorted(headers)),
            "",
            names,
            nothing,
        ]
    )
    scope = f"{day}/{account.region}/s3/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{account.secret_key}".encode()
    for word in (day, account.region, "s3", "aws4_request"):
        key = hmac.new(key, word.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    credential = f"{account.access_key}/{scope}"
    signed = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
    return {**{name: value for name, value in headers.items() if name != "host"}, "Authorization": signed}
