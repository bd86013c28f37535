"""What a cluster still has to be made of, and whether this machine can make it: components, Go, C compiler."""

from __future__ import annotations

from typing import Final

from harness.components import tools
from harness.components.lock import load as load_lock
from harness.components.sources import golang, toolchain
from harness.components.sources.golang import MIN_GO
from harness.components.versions import find_version
from harness.steps.doctor.model import Answer, Plan, Question


def _components(plan: Plan) -> Answer:
    if not plan.missing:
        return Answer(ok=True, detail="all components of this cluster are in the cache")
    return Answer(ok=False, detail=f"not in the cache: {', '.join(plan.missing)}")


def _go(plan: Plan) -> Answer:
    if not plan.missing:
        return Answer(ok=True, detail="not needed: all components of this cluster are in the cache")
    pinned = load_lock().go
    done = plan.host.run(golang.VERSION)
    found = find_version(done.stdout) if done.ok else ""
    rule = plan.host.run(("env", "-C", "/", "go", "env", "GOTOOLCHAIN")).stdout.strip() if found else ""
    reason = golang.too_old(found, pinned.version if pinned else MIN_GO, rule) if found else "not found"
    if not reason:
        return Answer(ok=True, detail=found)
    if pinned and toolchain.place(plan.cache, pinned).is_dir():
        return Answer(ok=True, detail=f"{reason}; {pinned.version} is in the cache")
    obstacle = toolchain.obstacle(pinned)
    if pinned and not obstacle:
        return Answer(
            ok=True, detail=f"{reason}; {pinned.version} will be downloaded to the cache (70 MB from Go's module proxy)"
        )
    # Others may come as a release or a package; up finds out.
    known = load_lock().component
    sources = [name for name in plan.missing if known[name].only_built]
    detail = f"{reason}; {obstacle}"
    detail += f"; it builds {', '.join(sources)}" if sources else ""
    return Answer(ok=False, detail=detail, severity="blocks" if sources else None)


def _compilers(plan: Plan) -> Answer:
    lock = load_lock()
    builds = [build for name in plan.missing if (build := lock.component[name].build) and build.needs]
    wanted = list(dict.fromkeys(need for build in builds for need in build.needs))
    lacking = [name for name in wanted if not _is_there(plan, name)]
    if not lacking:
        return Answer(ok=True, detail=f"found: {', '.join(wanted)}" if wanted else "not needed")
    detail, fix = f"missing: {', '.join(lacking)}", tools.advice(lock.tool, lacking, coming=plan.coming)
    # What has another source may still come from there; up finds out.
    return Answer(ok=plan.coming, detail=f"{detail}; {fix}" if plan.coming else detail, fix=fix)


def _is_there(plan: Plan, name: str) -> bool:
    file = load_lock().tool[name].file
    return plan.host.exists(file) if file else plan.host.which(name) is not None


ELSEWHERE: Final = "import components from another machine: cnilab components export, then import"

CHECKS: Final[tuple[Question, ...]] = (
    Question(
        "components",
        "components",
        "info",
        "the first up downloads or builds them: up to 15 minutes",
        "cnilab components ensure",
        _components,
    ),
    Question(
        "go",
        "Go",
        "limits",
        "components without a release or a package cannot be built",
        f"install Go {MIN_GO} or later (https://go.dev/dl), or {ELSEWHERE}",
        _go,
    ),
    Question(
        "compilers",
        "C compiler",
        "limits",
        "components with C code cannot be built",
        ELSEWHERE,
        _compilers,
    ),
)
