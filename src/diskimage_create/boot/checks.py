"""What holds for every machine that boots."""

from __future__ import annotations

from diskimage_create.boot import console
from diskimage_create.boot.guest import GuestReport
from diskimage_create.boot.trial import Failed, Trial
from diskimage_create.validate.registry import Outcome, listed, skipped, warned

#: Seconds that a guest which shows a login prompt has to say how it is. Without cloud-init it never does.
_REPORT_PATIENCE = 120.0
#: Seconds that a guest which is up has to show a login prompt
_PROMPT_PATIENCE = 30.0
_NO_REPORT = "the machine says nothing of itself: cloud-init with the data source ConfigDrive would"


def run(trial: Trial) -> GuestReport | None:
    """Run the checks; returns what the guest said of itself."""
    trial.check("boot", "The system comes up", lambda: _boot(trial), vital=True)
    trial.check("login-prompt", "There is a login prompt on the serial console", lambda: _prompt(trial))
    trial.check("units", "No unit failed", lambda: _units(trial))
    trial.check("kernel-messages", "The kernel complains of nothing", lambda: _kernel(trial))
    return trial.machine.guest_report()


def _boot(trial: Trial) -> str:
    machine = trial.machine

    def up() -> bool | None:
        prompt = machine.console.events.get("login prompt")
        silent = prompt is not None and machine.age() > prompt + _REPORT_PATIENCE
        return True if machine.guest_report() or silent else None

    trial.wait("the end of the boot", up)
    said = machine.guest_report()
    if said is None:
        return f"a login prompt after {machine.console.events['login prompt']:.0f} s; {_NO_REPORT}"
    trial.event("everything is started")
    if said.multi_user_seconds is None:
        raise Failed(f"multi-user.target was not reached; systemd says {said.state}")
    return f"multi-user.target {said.multi_user_seconds:.1f} s after the kernel's start; systemd says {said.state}"


def _prompt(trial: Trial) -> str | Outcome:
    try:
        when = trial.wait(
            "a login prompt", lambda: trial.machine.console.events.get("login prompt"), limit=_PROMPT_PATIENCE
        )
    except Failed as failure:
        return warned(str(failure))
    return f"after {when:.0f} s"


def _units(trial: Trial) -> str | Outcome:
    said = trial.machine.guest_report()
    if said is None:
        seen = console.failed_units(trial.machine.console.lines())
        if seen:
            raise Failed(f"failed to start: {listed(seen)}")
        return skipped(_NO_REPORT)
    if said.failed:
        raise Failed("; ".join(f"{each.unit}: {' / '.join(each.log[-2:]) or 'no log'}" for each in said.failed))
    return "none"


def _kernel(trial: Trial) -> str | Outcome:
    said = trial.machine.guest_report()
    if said is None:
        return skipped(_NO_REPORT)
    messages = [*said.kernel_errors, *said.kernel_warnings]
    if not messages:
        return "none"
    counts = f"{len(said.kernel_errors)} errors, {len(said.kernel_warnings)} warnings"
    return warned(f"{counts}: {' / '.join(messages[:3])}")
