"""Power by Redfish, with the sushy library: which request, in which time, and what an answer means.

A BMC's address is the URL of its system (https://bmc/redfish/v1/Systems/1). What sushy and the BMC raise becomes an
error of ours in one table, at the end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import sushy
from sushy import auth as sushy_auth
from sushy import connector as sushy_connector
from sushy import exceptions as sushy_errors

from bmid.drivers.base import Power, PowerAction, PowerState
from bmid.errors import BmiError, Misconfigured, PermanentError, TransientError
from bmid.model.entity import PowerAddress

__all__ = ["RedfishPower"]

Credentials = Callable[[str], tuple[str, str]]

_STATES = {
    sushy.PowerState.ON: PowerState.ON,
    sushy.PowerState.OFF: PowerState.OFF,
    sushy.PowerState.PAUSED: PowerState.ON,
}
_RESETS = {
    PowerAction.ON: (sushy.ResetType.ON, sushy.ResetType.FORCE_ON),
    PowerAction.OFF: (sushy.ResetType.FORCE_OFF,),
    PowerAction.CYCLE: (sushy.ResetType.FORCE_RESTART, sushy.ResetType.POWER_CYCLE),
}
_WANTED = {PowerAction.ON: PowerState.ON, PowerAction.OFF: PowerState.OFF}


class RedfishPower(Power):
    """BMCs that speak Redfish. Thread-safe.

    `credentials` gives user and password by the name of a credential. `per_bmc` calls run at once at one BMC, the
    others wait; `timeout` (seconds) bounds that wait, and from then on the call. `verify` as of `requests`: True,
    False, or the path of a CA bundle.
    """

    def __init__(
        self, credentials: Credentials, timeout: float = 10, per_bmc: int = 2, verify: bool | str = True
    ) -> None:
        self._credentials = credentials
        self._timeout = timeout
        self._per_bmc = per_bmc
        self._verify = verify
        self._services: dict[tuple[str, str | None], _Service] = {}
        self._turns: dict[str, threading.BoundedSemaphore] = {}
        self._lock = threading.Lock()

    def check(self, bmc: PowerAddress) -> str:
        with self._system(bmc) as (service, system):
            root = service.root
            return f"Redfish {root.redfish_version}, {system.manufacturer or 'unknown'} {system.model or ''}".rstrip()

    def state(self, bmc: PowerAddress) -> PowerState:
        with self._system(bmc) as (_, system):
            return _STATES.get(system.power_state, PowerState.UNKNOWN)

    def request(self, bmc: PowerAddress, action: PowerAction) -> None:
        with self._system(bmc) as (_, system):
            if action is PowerAction.CYCLE and system.power_state == sushy.PowerState.OFF:
                action = PowerAction.ON
            allowed = system.get_allowed_reset_system_values()
            reset = next((reset for reset in _RESETS[action] if reset in allowed), None)
            if reset is None:
                raise PermanentError(
                    "bmc-cannot",
                    f"the BMC at {bmc.address} can't do {action}",
                    todo=_BY_HAND,
                )
            try:
                system.reset_system(reset)
            except (sushy_errors.BadRequestError, sushy_errors.HTTPError):
                # Some refuse to switch off what is off.
                system.refresh(force=True)
                if _STATES.get(system.power_state) != _WANTED.get(action, PowerState.UNKNOWN):
                    raise

    def boot_from_network_once(self, bmc: PowerAddress) -> None:
        with self._system(bmc) as (_, system):
            system.set_system_boot_options(target=sushy.BootSource.PXE, enabled=sushy.BootSourceOverrideEnabled.ONCE)
            system.refresh(force=True)
            boot = system.boot
            # Some BMCs take Once and show Continuous; nodes boot from the network every time anyhow.
            if boot.target != sushy.BootSource.PXE or boot.enabled in (
                None,
                sushy.BootSourceOverrideEnabled.DISABLED,
            ):
                raise TransientError(
                    "bmc-boot-device",
                    f"the BMC at {bmc.address} didn't keep the boot device",
                    todo="It is tried again. If it stays so, let the node's firmware boot from the network first.",
                )

    @contextmanager
    def _system(self, bmc: PowerAddress) -> Iterator[tuple[_Service, Any]]:
        """The system as it is now, when it is our turn at its BMC; errors of all kinds translated."""
        base, path = _parts(bmc.address)
        turns = self._turns_of(base)
        if not turns.acquire(timeout=self._timeout):
            raise TransientError(
                "bmc-busy",
                f"no turn at the BMC at {base} within {self._timeout:g} s",
                todo="It is tried again. A BMC that can take more calls at a time gets them by [power] per_bmc.",
            )
        key = base, bmc.credential
        try:
            service = self._service(key, time.monotonic() + self._timeout)
            yield service, service.root.get_system(path)
        except Exception as error:
            with self._lock:
                self._services.pop(key, None)
            if isinstance(error, BmiError):
                raise
            raise _translated(error, bmc.address) from None
        finally:
            turns.release()

    def _turns_of(self, base: str) -> threading.BoundedSemaphore:
        with self._lock:
            return self._turns.setdefault(base, threading.BoundedSemaphore(self._per_bmc))

    def _service(self, key: tuple[str, str | None], deadline: float) -> _Service:
        with self._lock:
            service = self._services.get(key)
        if service is None:
            base, credential = key
            user, password = self._log_in(credential) if credential is not None else ("", "")
            connector = _Connector(base, self._verify)
            connector.due(deadline)
            service = _Service(sushy.Sushy(base, auth=_Login(user, password), connector=connector), connector)
            with self._lock:
                self._services[key] = service
        service.connector.due(deadline)
        return service

    def _log_in(self, credential: str) -> tuple[str, str]:
        try:
            return self._credentials(credential)
        except (LookupError, OSError, ValueError, Misconfigured):
            raise TransientError(
                "credential-missing",
                f"there is no readable credential {credential!r}",
                todo="see the settings of power",
            ) from None


@dataclass(frozen=True)
class _Service:
    """A BMC's Redfish service that was reached, and the connector with its log-in."""

    root: Any = field(repr=False)
    connector: _Connector = field(repr=False)


class _Login(sushy_auth.BasicAuth):  # type: ignore[misc]  # sushy ships no types
    """Each request carries the log-in. Sessions would be left behind by a crash, and a BMC has room for few."""

    def _do_authenticate(self) -> None:
        if self._username:
            super()._do_authenticate()


class _Connector(sushy_connector.Connector):  # type: ignore[misc]
    """sushy's own, within one deadline for all requests of a call, and without its waits between tries."""

    def __init__(self, base: str, verify: bool | str) -> None:
        # 0 tries would become 3, with pauses.
        super().__init__(base, verify=verify, server_side_retries=1, server_side_retries_delay=0)
        self._session.trust_env = False  # neither a proxy nor ~/.netrc is meant for BMCs
        self._deadlines = threading.local()

    def due(self, deadline: float) -> None:
        """Requests of this thread end by then (time.monotonic)."""
        self._deadlines.value = deadline

    def _op(self, method: str, path: str = "", **arguments: Any) -> Any:
        left = self._deadlines.value - time.monotonic()
        if left <= 0:
            raise sushy_errors.ConnectionError(url=path, error="out of time")
        return super()._op(method, path, **{**arguments, "timeout": left, "server_side_retries_left": 0})


def _parts(address: str) -> tuple[str, str]:
    """Service and path of a system's URL."""
    try:
        url = urlsplit(address)
        fit = url.scheme in {"http", "https"} and url.hostname and url.path.startswith("/redfish/v1/")
        fit = fit and url.username is None and url.password is None and (url.port or 1) > 0
    except ValueError:
        fit = False
    if not fit:
        raise PermanentError(
            "bmc-address",
            "a BMC's address is the URL of its system, without user and password",
            todo="such as https://bmc-n1.example/redfish/v1/Systems/1",
        )
    return f"{url.scheme}://{url.netloc}", url.path


_BY_HAND = "switch the node by hand, or send the command again with power none"
# What the first fitting kind means: slug, whether a later try may work, what happened, what to do. Texts of the
# library are not shown: they hold whatever the BMC sent.
_TABLE: tuple[tuple[type[Exception], str, bool, str, str], ...] = (
    (sushy_errors.AccessError, "bmc-access", False, "refused our log-in", "see the node's credential"),
    (sushy_errors.ResourceNotFoundError, "bmc-no-system", False, "has no such system", "see the node's address"),
    (sushy_errors.ServerSideError, "bmc-busy", True, "failed inside", "see its own log; often it has to be restarted"),
    (sushy_errors.HTTPError, "bmc-refused", True, "refused the request", "see its own log"),
    (sushy_errors.ConnectionError, "bmc-down", True, "can't be reached in time", "see its network and certificate"),
    (sushy_errors.InvalidParameterValueError, "bmc-cannot", False, "can't do what was asked", _BY_HAND),
    (sushy_errors.MissingActionError, "bmc-cannot", False, "can't switch power", _BY_HAND),
    (Exception, "bmc-garbled", True, "answered something that isn't Redfish", "see what answers there"),
)


def _translated(error: Exception, address: str) -> BmiError:
    for kind, slug, again, what, todo in _TABLE:
        if isinstance(error, kind):
            status = getattr(error, "status_code", None)
            # Also a mistake of ours ends in the last row: its kind tells it apart from the BMC's.
            detail = f"the BMC at {address} {what}" + (f" (HTTP {status})" if status else f" ({type(error).__name__})")
            return (TransientError if again else PermanentError)(slug, detail, todo=todo)
    raise error
