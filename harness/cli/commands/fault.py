"""`cnilab fault`: break a cluster on purpose, and mend it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from harness.cli.command import Command, Group, Option
from harness.cli.context import say
from harness.cli.output import Listing, emit, output_option
from harness.cli.progress import progress
from harness.cli.select import attached, cluster_option, names
from harness.errors import CnilabError, NotYoursError, TearDownError

if TYPE_CHECKING:
    from harness.faults.model import Fault
    from harness.model.injection import Injection, Step
    from harness.steps.faults.ledger import TakenBack
    from harness.steps.lifecycle.attach import Attached


@click.group(
    "fault",
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    examples="""
    cnilab fault list
    cnilab fault inject fwd-off
    cnilab fault inject --random --secret
    cnilab fault clear
    """,
)
def command() -> None:
    """Break a running cluster on purpose, for exercises, and mend it again.

    The faults are those with which 'cnilab test --faults' tests the suite. docs/workshop.md has an exercise.
    """


@command.command(
    "list",
    cls=Command,
    on_lab=True,
    examples="""
    cnilab fault list
    cnilab fault list -o wide
    cnilab fault list --cluster monday -o json | jq -r '.items[] | select(.here) | .id'
    """,
)
@cluster_option()
@output_option()
def list_(*, cluster: str | None, output: str) -> None:
    """List all faults. If a cluster is up, say which ones can be shown on it, and which are injected.

    HERE is 'no' if a fault would change nothing on the cluster. With '-o wide', LACKS says why, and KILLS names the
    checks that must notice the fault. A secret fault is not marked.

    Some faults stop a program, so that it does not mend what they break. If that program has a liveness probe, the
    kubelet starts it again after a while. The list says so: clear the fault then, and inject it again.
    """
    there = _there(cluster)
    from harness.faults import catalogue  # noqa: PLC0415 - the help must not wait for pydantic

    if there is None:
        emit(_catalogue(catalogue.faults()), output)
        return
    from harness.model import injection  # noqa: PLC0415
    from harness.steps.faults.hands import able, awake, place_of  # noqa: PLC0415

    injected = injection.read(place_of(there))
    woken = awake(there) if injected else {}
    emit(_for_cluster(there.spec.name, able(there), injected, woken), output)
    if injected:
        say(f"Injected in '{there.spec.name}': {injection.phrase(injected)}.")
    for one in injected:
        if one.fault in woken:
            who = "A secret fault" if one.secret else one.fault
            nodes = ", ".join(woken[one.fault])
            say(f"{who} stopped a program on {nodes} that runs again: it may have mended what was broken.")


def _there(cluster: str | None) -> Attached | None:
    """The cluster that the user named, or the only one; None if there is none that answers."""
    if cluster is not None:
        return attached(cluster)
    try:
        known = names()
        if len(known) == 1:
            return attached(known[0])
    except NotYoursError:
        return None
    except CnilabError as error:
        say(f"Only the catalogue is shown: {error.what}.")
        return None
    if known:
        say("Only the catalogue is shown: there are several clusters. Name one with --cluster.")
    return None


def _facts(fault: Fault) -> dict[str, Any]:
    keys = {"id", "name", "title", "family", "needs", "kills", "spares"}
    return fault.model_dump(mode="json", include=keys)


def _kills(fault: Fault) -> str:
    return ", ".join(dict.fromkeys(target.partition("[")[0] for target in fault.kills))


def _catalogue(faults: tuple[Fault, ...]) -> Listing:
    rows = [(one.id, one.name, one.family, one.title, _kills(one)) for one in faults]
    items = [_facts(one) for one in faults]
    columns = ("id", "name", "family", "what")
    return Listing("Fault", columns, rows, items, [f"fault/{one.id}" for one in faults], wide=("kills",))


def _for_cluster(
    cluster: str, able: dict[str, list[str]], injected: tuple[Injection, ...], woken: dict[str, list[str]]
) -> Listing:
    from harness.faults import catalogue  # noqa: PLC0415
    from harness.steps.faults.hands import lacks  # noqa: PLC0415

    faults = catalogue.faults()
    told = {one.fault for one in injected if not one.secret}
    rows, items = [], []
    for one in faults:
        needs = able[one.id]
        here = "injected" if one.id in told else "no" if needs else "yes"
        rows.append((one.id, one.name, one.family, here, one.title, _kills(one), lacks(needs) or "-"))
        facts = {"here": not needs, "lacks": needs, "injected": one.id in told}
        items.append({**_facts(one), **facts, "awake": woken.get(one.id, []) if one.id in told else []})
    extra = {"cluster": cluster, "secret": len(injected) - len(told)}
    columns = ("id", "name", "family", "here", "what")
    ids = [f"fault/{one.id}" for one in faults]
    return Listing("Fault", columns, rows, items, ids, wide=("kills", "lacks"), extra=extra)


@command.command(
    "inject",
    cls=Command,
    on_lab=True,
    examples="""
    cnilab fault inject F05
    cnilab fault inject route-del mss-clamp --cluster monday
    cnilab fault inject --random --secret
    cnilab fault inject --random --seed 7 -o json
    """,
)
@click.argument("words", metavar="[FAULT]...", nargs=-1)
@click.option(
    "--random", "at_random", cls=Option, is_flag=True, help="Choose one of the faults that the cluster can show."
)
@click.option("--seed", type=click.IntRange(min=0), help="With --random: the same seed chooses the same fault.")
@click.option("--secret", is_flag=True, help="Do not tell which fault it is. 'cnilab fault clear' tells it.")
@cluster_option()
@output_option()
def inject(
    words: tuple[str, ...], *, at_random: bool, seed: int | None, secret: bool, cluster: str | None, output: str
) -> None:
    """Inject faults, by id or name, and leave them in the cluster until 'cnilab fault clear'.

    'cnilab test' shows which checks notice. The pods of the suite are deployed first if they are not there, because
    faults use them. Either all faults are injected or none. 'cnilab test --faults', 'cnilab apply' and 'cnilab switch'
    refuse a cluster with injected faults.
    """
    if bool(words) == at_random:
        msg = "name faults or give --random, but not both" if words else "name at least one fault, or give --random"
        raise click.UsageError(msg)
    if seed is not None and not at_random:
        msg = "--seed needs --random"
        raise click.UsageError(msg)
    faults = _named(words)
    there = attached(cluster)
    from harness.faults import catalogue  # noqa: PLC0415
    from harness.model.journal import Journal  # noqa: PLC0415
    from harness.steps.faults.hands import Wanted, inject_faults  # noqa: PLC0415

    if seed is None:
        import secrets  # noqa: PLC0415

        seed = secrets.randbelow(10**6)
    with progress() as listener:
        done = inject_faults(there, Wanted(tuple(faults), seed, secret), Journal(None, listener))
    extra = {"cluster": there.spec.name, **({"seed": seed} if at_random and not secret else {})}
    emit(_injected(done, extra), output)
    if secret:
        say("One fault was injected." if len(done) == 1 else f"{len(done)} faults were injected.")
    for one in () if secret else done:
        say(f"{one.fault} {one.name} was injected: {one.title}.")
    if not secret and any(fault.stop for fault in catalogue.choose(tuple(one.fault for one in done))):
        say("A program that would repair it is suspended. Where kubelet probes it, kubelet starts another one later.")
    say("'cnilab test' shows which checks notice. 'cnilab fault clear' undoes it.")


def _named(words: tuple[str, ...]) -> list[Fault]:
    """Faults by id or name, each once, as the user ordered them."""
    from harness.faults import catalogue  # noqa: PLC0415 - the help must not wait for pydantic

    return list({fault.id: fault for fault in map(catalogue.find, words)}.values())


def _typed(step: Step) -> dict[str, Any]:
    return {"where": step.where.name, "command": list(step.run)}


def _injected(done: list[Injection], extra: dict[str, Any]) -> Listing:
    rows, items, ids = [], [], []
    for one in done:
        rows.append(("secret", "-", "-", "-") if one.secret else (one.fault, one.name, one.family, one.title))
        facts = {"fault": one.fault, "name": one.name, "title": one.title, "family": one.family}
        told = {**facts, "commands": [_typed(step) for step in one.did]}
        items.append({"secret": one.secret, **({} if one.secret else told)})
        ids.append("fault/secret" if one.secret else f"fault/{one.fault}")
    return Listing("InjectedFault", ("fault", "name", "family", "what"), rows, items, ids, extra=extra)


@command.command(
    "clear",
    cls=Command,
    on_lab=True,
    examples="""
    cnilab fault clear
    cnilab fault clear F05 --cluster monday
    cnilab fault clear -o json | jq -r '.items[].fault'
    """,
)
@click.argument("words", metavar="[FAULT]...", nargs=-1)
@click.option("--forget", is_flag=True, help="Do not try again later what cannot be undone now.")
@cluster_option()
@output_option()
def clear(words: tuple[str, ...], *, forget: bool, cluster: str | None, output: str) -> None:
    """Undo injected faults: all of them, or those named. The last one injected is undone first.

    This also undoes a fault that was injected only in part, for example because 'cnilab fault inject' was killed. It is
    safe to repeat. It tells which fault a secret one was. Exit code 12 means that a command failed; it is listed.
    """
    faults = _named(words)
    there = attached(cluster)
    from harness.model.journal import Journal  # noqa: PLC0415
    from harness.steps.faults.hands import clear_faults  # noqa: PLC0415

    with progress() as listener:
        done = clear_faults(there, faults, Journal(None, listener), forget=forget)
    emit(_cleared(done, there.spec.name), output, empty=_nothing(faults))
    for one in done:
        _tell(one)
    failures = [_failure(one, step, error) for one in done for step, error in one.failures]
    if failures and not forget:
        msg = "some of what was injected could not be undone"
        step = "run it again, or with --forget to try no more; 'cnilab down' removes the whole cluster in any case"
        raise TearDownError(msg, cause="\n".join(failures), next_step=step)


def _failure(one: TakenBack, step: Step, error: CnilabError) -> str:
    why = (error.cause or error.what).splitlines()[-1]
    return f"{one.item.fault}: {step.where.name}: {shlex.join(step.run)}: {why}"


def _nothing(faults: list[Fault]) -> str:
    if not faults:
        return "Nothing is injected."
    return f"Not injected: {', '.join(f'{fault.id} {fault.name}' for fault in faults)}."


def _cleared(done: list[TakenBack], cluster: str) -> Listing:
    rows, items = [], []
    for one in done:
        item, left = one.item, [step for step, _ in one.failures]
        rows.append((item.fault, item.name, "partial" if left else "ok", str(len(one.ran)), item.title))
        facts: dict[str, Any] = {"fault": item.fault, "name": item.name, "title": item.title, "secret": item.secret}
        kinds = {"ran": one.ran, "moot": one.moot, "doubtful": one.doubtful, "shared": one.shared, "left": left}
        items.append({**facts, **{kind: [_typed(step) for step in steps] for kind, steps in kinds.items()}})
    ids = [f"fault/{one.item.fault}" for one in done]
    columns = ("fault", "name", "undone", "commands", "what")
    return Listing("ClearedFault", columns, rows, items, ids, extra={"cluster": cluster})


def _tell(one: TakenBack) -> None:
    """What is worth knowing beside the table."""
    item = f"{one.item.fault} {one.item.name}"
    for step in one.moot:
        say(f"{item}: pod {step.where.namespace}/{step.where.pod} is gone, and what was done in it.")
    for step in one.doubtful:
        say(f"{item}: perhaps there was nothing to undo on {step.where.name}: '{shlex.join(step.run)}' failed.")
    for step in one.shared:
        say(f"{item}: another fault keeps the program of '{shlex.join(step.run)}' on {step.where.name} stopped.")
