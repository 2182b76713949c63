"""``brainrecon doctor``: what is installed here, whether it works, and what to type when it does not."""

import os
import shutil
from pathlib import Path

import typer

from brainrecon import __file__ as package_file
from brainrecon.cli.console import say
from brainrecon.cli.installation import Finding, examine_python, examine_requirements, examine_torch
from weights import store
from weights.own_checkpoints import OWN_FOLDER

MEMORY_WANTED = 4e9
DISK_WANTED = 2e9


def doctor() -> None:
    """Say what is installed here and whether it works.

    Looks at Python, torch and torchvision, the other packages, devices, threads, memory, which published
    generators fit into it, disk, the checkpoints and where the packages come from. Exit code 0 when the
    toolkit is usable, 2 when it is not.
    """
    findings = examine()
    for finding in findings:
        mark = {"good": "ok  ", "note": "note", "bad": "BAD "}[finding.state]
        say(f"{mark}  {finding.subject}: {finding.detail}")
        if finding.remedy:
            say(f"      {finding.remedy}")
    bad = [finding.subject for finding in findings if finding.state == "bad"]
    say(f"Not usable: mend {', '.join(bad)}." if bad else "Usable.")
    if bad:
        raise typer.Exit(2)


def examine() -> list[Finding]:
    """Everything the doctor looks at, in the order it is shown."""
    torch_finding = examine_torch()
    findings = [examine_python(), torch_finding, examine_requirements()]
    if torch_finding.state == "good":
        findings += [*examine_devices(), examine_threads(), *examine_generators()]
    return [*findings, examine_memory(), examine_disk(), *examine_weights(), examine_packages_home()]


def examine_devices() -> list[Finding]:
    """Try each device that torch can use with one tiny step."""
    import torch

    from stages.ground.devices import float64_device, trouble_with

    devices = {}
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        devices[f"cuda:{index}"] = f"{facts.name}, {facts.total_memory / 1e9:.0f} GB, "
    if torch.backends.mps.is_available():
        devices["mps"] = ""
    findings = []
    for name, facts in (devices | {"cpu": ""}).items():
        if trouble := trouble_with(name):
            detail = f"{facts}cannot be used: {trouble}"
            findings.append(Finding(f"device {name}", "bad" if name == "cpu" else "note", detail, "Pass --device cpu."))
            continue
        elsewhere = (
            "" if str(float64_device(name)) == name else "; linear decoders run on the CPU, for it has no float64"
        )
        findings.append(Finding(f"device {name}", "good", f"{facts}works{elsewhere}"))
    return findings


def examine_generators() -> list[Finding]:
    """Reckon for each published generator whether it fits on the device with the most free memory, and how."""
    from stages.generators.diffusion.memory import LIBRARIES, SET_ASIDE, batch_size_for, memory_need
    from stages.generators.diffusion.published_sizes import PUBLISHED_SIZES

    device, free = roomiest_device()
    on_host = device == "cpu"
    # On the host the libraries of the process that draws need room, too.
    libraries = LIBRARIES if on_host else 0
    # What Acceleration chooses by itself first.
    dtypes = ("float32", "bfloat16") if on_host else ("float16",)
    findings = []
    for name, size in PUBLISHED_SIZES.items():
        for dtype in dtypes:
            settings = {"dtype": dtype, "set_aside": 0 if on_host else SET_ASIDE}
            batch = batch_size_for(size, free - libraries, **settings)
            if batch:
                break
        need = memory_need(size, batch_size=max(batch, 1), **settings).total + libraries
        fits = "fits, at most" if batch else "does not fit,"
        pictures = "1 picture" if batch <= 1 else f"{batch} pictures"
        detail = (
            f"{name} at {size.image_size} px in {dtype} {fits} {pictures} at a time: "
            f"{need / 1e9:.1f} of {free / 1e9:.1f} GB on {device}"
        )
        findings.append(Finding("generator", "good" if batch and dtype == dtypes[0] else "note", detail))
    return findings


def roomiest_device() -> tuple[str, int]:
    """The CUDA device with the most free memory, or the CPU if there is none, and the bytes that are free."""
    import psutil
    import torch

    free = {f"cuda:{index}": torch.cuda.mem_get_info(index)[0] for index in range(torch.cuda.device_count())}
    if not free:
        return "cpu", psutil.virtual_memory().available
    device = max(free, key=free.get)
    return device, free[device]


def examine_threads() -> Finding:
    """Compare the threads torch will use with the cores this process may use."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = torch.get_num_threads()
    if threads > cores:
        return Finding("threads", "note", f"{threads} on {cores} cores", f"export OMP_NUM_THREADS={cores}")
    return Finding("threads", "good", f"{threads} on {cores} cores")


def examine_memory() -> Finding:
    """Look at the memory that is free."""
    import psutil

    memory = psutil.virtual_memory()
    detail = f"{memory.available / 1e9:.1f} GB free of {memory.total / 1e9:.1f} GB"
    if memory.available < MEMORY_WANTED:
        return Finding("memory", "note", f"{detail}; the demo wants {MEMORY_WANTED / 1e9:.0f} GB")
    return Finding("memory", "good", detail)


def examine_disk() -> Finding:
    """Look at the disk of the current folder."""
    here = Path.cwd()
    free = shutil.disk_usage(here).free
    detail = f"{free / 1e9:.1f} GB free in {here}"
    if free < DISK_WANTED:
        return Finding("disk", "note", f"{detail}; the demo wants {DISK_WANTED / 1e9:.0f} GB")
    return Finding("disk", "good", detail)


def examine_weights() -> list[Finding]:
    """Verify the checkpoints that are present; the embedded ones must be."""
    known = store.checkpoints()
    statuses = store.verify()
    findings = []
    for status in statuses:
        embedded = known[status.name].embedded
        if status.state == "damaged" or (status.state == "absent" and embedded):
            remedy = (
                "Restore the folder from the repository, or reinstall brainrecon."
                if embedded
                else f"Restore {known[status.name].folder}."
                if known[status.name].origin == OWN_FOLDER
                else f"brainrecon weights pull {status.name}"
            )
            findings.append(Finding(f"checkpoint {status.name}", "bad", f"{status.state}: {status.detail}", remedy))
    good = [status.name for status in statuses if status.state in ("verified", "unverified")]
    absent = [status.name for status in statuses if status.state == "absent" and not known[status.name].embedded]
    detail = f"present: {', '.join(good) or 'none'}; absent: {', '.join(absent) or 'none'}"
    stores = ", ".join(map(str, store.user_stores()))
    remedy = "For what a method needs: brainrecon weights pull --for METHOD" if absent else ""
    return [*findings, Finding("checkpoints", "good", f"{detail}; user's store {stores}", remedy)]


def examine_packages_home() -> Finding:
    """Say where the three packages come from; a shadowed one would have stopped the import of brainrecon."""
    home = Path(package_file).resolve().parent.parent
    return Finding("name shadowing", "good", f"brainrecon, stages and weights all come from {home}")
