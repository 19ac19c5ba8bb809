"""What a person chooses for the persistent server: the address it listens on, and its database."""

import asyncio
import ipaddress
import os
import socket

from terp.workflows.errors import Unavailable, Usage

DATABASE = "TERP_PREFECT_DATABASE"
_POSTGRESQL = "postgresql+asyncpg://"


def bound(host: str, interface: str, port: int) -> socket.socket:
    """A socket bound to one address of this machine; at `port` if that is free, else at any.

    The address is that of `host` (a name or an address), else of the network interface `interface`, else of this
    machine's own name. Raises Usage if that is none, or not one that this machine has alone.
    """
    address = _resolved(host) if host else _of_interface(interface) if interface else _resolved(socket.gethostname())
    found = ipaddress.ip_address(address)
    if found.is_unspecified or found.is_multicast:
        raise Usage(f"{host} is not one address: name the one that the nodes reach")
    listening = socket.socket(socket.AF_INET6 if found.version == 6 else socket.AF_INET, proto=socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        try:
            listening.bind((address, port))
        except OSError:
            listening.bind((address, 0))
    except OSError as error:
        listening.close()
        raise Usage(f"{address} is no address of this machine ({error.strerror}); it has {_known()}") from None
    return listening


def _resolved(name: str) -> str:
    try:
        found = socket.getaddrinfo(name, None, proto=socket.IPPROTO_TCP)
    except OSError as error:
        raise Usage(f"{name} has no address ({error.strerror}); name one of {_known()} with --host") from None
    return str(min(found, key=lambda one: one[0] != socket.AF_INET)[4][0])


def _of_interface(name: str) -> str:
    import psutil

    has = psutil.net_if_addrs()
    if name not in has:
        raise Usage(f"this machine has no network interface {name!r}; it has {', '.join(sorted(has))}")
    found = [one.address for one in has[name] if one.family == socket.AF_INET]
    if not found:
        raise Usage(f"the network interface {name} has no IPv4 address; name one with --host")
    return str(found[0])


def _known() -> str:
    import psutil

    every = [one for interface in psutil.net_if_addrs().values() for one in interface]
    return ", ".join(sorted(one.address for one in every if one.family == socket.AF_INET))


def database(named: str) -> str:
    """The URL of the database: `named`, else what TERP_PREFECT_DATABASE says, else empty for SQLite on this node.

    Raises Usage if it is none of PostgreSQL's or `named` has a password, which all on this machine could see in the
    command line, and Unavailable if it can't be used.
    """
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    url = named or os.environ.get(DATABASE, "")
    if not url:
        return ""
    try:
        secret = make_url(url).password
    except (ArgumentError, ValueError):
        secret = None
    if named and secret:
        raise Usage(f"a command line is no place for a password: put it in ~/.pgpass, or the whole URL in {DATABASE}")
    if not url.startswith(_POSTGRESQL):
        raise Usage(f"the database has to be {_POSTGRESQL}USER@HOST/NAME (or none, for SQLite on a disk of this node)")
    asyncio.run(_try(url))
    return url


async def _try(url: str) -> None:
    from sqlalchemy import make_url
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(url)
    try:
        async with engine.connect():
            pass
    except Exception as error:  # noqa: BLE001 - asyncpg, the network and TLS each raise their own
        known = make_url(url).render_as_string(hide_password=True)
        why = getattr(error, "orig", None) or error  # SQLAlchemy wraps what the driver says
        raise Unavailable(f"the database {known} can't be used: {type(why).__name__} {why}") from None
    finally:
        await engine.dispose()
