"""``python -m hsl.store list|verify|prune``: look after a folder of records."""

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hsl import commands
from hsl.errors import HslError
from hsl.names import visible
from hsl.options.commandline import CommandLine, verb
from hsl.progress import track
from hsl.store.folder import StoredFile, damage, leftovers, records, surplus
from hsl.tables import print_table

EXAMPLES = """
  python -m hsl.store list runs/cache
  python -m hsl.store verify runs/cache
  python -m hsl.store prune runs/cache --damaged --days 30 --megabytes 2000 --dry-run
"""
ABOUT = """
list: counts, sizes and ages by kind of record.
verify: read every record, and list the damaged ones.
prune: remove what killed runs left behind, and the records that the options name; what is needed
again is computed again.
"""
_DAY, _MB = 86400.0, 1e6


def main(arguments: list[str] | None = None) -> int:
    """Run a verb; the exit status: 1 if `verify` finds damage."""
    return commands.run("hsl.store", lambda: _run(arguments))


def _run(arguments: list[str] | None) -> int:
    options = parser().parse(arguments)
    if options.folder is None:
        raise HslError("give a verb and a folder: python -m hsl.store list FOLDER")
    verbs: dict[str, Callable[[argparse.Namespace], int]] = {
        "list": show,
        "verify": verify,
        "prune": prune,
    }
    return verbs[options.verb](options)


def parser() -> CommandLine:
    """All options."""
    command = CommandLine("VERB FOLDER [options]", ABOUT, EXAMPLES, prog="python -m hsl.store")
    command.add_argument("verb", nargs="?", type=verb("list", "verify", "prune"), metavar="VERB",
                      help="list, verify or prune")  # fmt: skip
    command.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="a method's cache")
    add = command.add_argument_group("what prune removes").add_argument
    add("--kind", help="the records of this kind; with other options, of this kind alone")
    add("--days", type=float, metavar="N", help="records written more than N days ago")
    add("--megabytes", type=float, metavar="N", help="the oldest, until N MB are left")
    add("--damaged", action="store_true", help="what verify would list")
    add("--dry-run", action="store_true", help="nothing: only say what would be removed")
    return command


def show(options: argparse.Namespace) -> int:
    """Print a table of the records, by kind and backbone."""
    groups: dict[tuple[str, str], list[StoredFile]] = {}
    entries, abandoned = records(options.folder), leftovers(options.folder)
    for entry in entries:
        backbone = str((entry.about or {}).get("backbone", ""))
        groups.setdefault((entry.kind, backbone), []).append(entry)
    rows = [_row(kind, backbone, group) for (kind, backbone), group in sorted(groups.items())]
    rows += [_row("left behind", "", abandoned)] if abandoned else []
    print_table(str(options.folder), [*rows, _row("all", "", entries + abandoned)])
    return 0


def verify(options: argparse.Namespace) -> int:
    """Read every record, and list the damaged ones."""
    entries = records(options.folder)
    damaged = _damaged(entries)
    for entry, reason in damaged:
        print(visible(f"{entry.path}: {reason}"))
    print(f"{len(entries)} records, {len(damaged)} damaged")
    return 1 if damaged else 0


def prune(options: argparse.Namespace) -> int:
    """Remove leftovers, and the records that the options name."""
    for name in ("days", "megabytes"):
        value = getattr(options, name)
        if value is not None and not 0 <= value < math.inf:
            raise HslError(f"--{name} {value}: want a number, 0 or more")
    gone = {entry.path: entry.size for entry in leftovers(options.folder)}
    entries = [e for e in records(options.folder) if options.kind in (None, e.kind)]
    if options.kind is not None and not entries:
        raise HslError(f"--kind {options.kind}: no such records; see python -m hsl.store list")
    chosen = [entry for entry, _ in _damaged(entries)] if options.damaged else []
    if options.days is not None:
        chosen += [entry for entry in entries if entry.age > options.days * _DAY]
    if options.kind and not options.damaged and options.days is options.megabytes is None:
        chosen = entries
    gone |= {entry.path: entry.size for entry in chosen}
    if options.megabytes is not None:
        remaining = [entry for entry in entries if entry.path not in gone]
        gone |= {entry.path: entry.size for entry in surplus(remaining, options.megabytes * _MB)}
    if not options.dry_run:
        for path in gone:
            path.unlink(missing_ok=True)
    deed = "would remove" if options.dry_run else "removed"
    print(f"{deed} {len(gone)} files, {sum(gone.values()) / _MB:.3g} MB")
    return 0


def _damaged(entries: list[StoredFile]) -> list[tuple[StoredFile, str]]:
    checked = ((entry, damage(entry.path)) for entry in track(entries, "reading", len(entries)))
    return [(entry, reason) for entry, reason in checked if reason is not None]


def _row(kind: str, backbone: str, entries: list[StoredFile]) -> dict[str, Any]:
    ages = [entry.age / _DAY for entry in entries]
    return {
        "kind": kind,
        "backbone": backbone,
        "records": len(entries),
        "MB": sum(entry.size for entry in entries) / _MB,
        "oldest, days": max(ages, default=None),
        "newest, days": min(ages, default=None),
    }


if __name__ == "__main__":
    sys.exit(main())
