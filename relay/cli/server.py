"""`relay init`, `serve`, `demo`, `check`, `stats`, `purge`: the operator's commands.

The server's packages are imported where a command runs, so that a desk does without them. What
makes keys is, too: `serve` begins twice (relay.memory), and makes none.
"""

import argparse
import asyncio
import dataclasses
import logging
import resource
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relay import memory
from relay.cli.printing import printable, result, result_json, say
from relay.cli.stats import tell
from relay.config import ServerConfig, split_listen
from relay.errors import ConfigInvalid, NotKept, RelayError

if TYPE_CHECKING:
    from relay.intake.finding import Finding

_DEFAULT_LISTEN = "127.0.0.1:8080"


def add_commands(commands: Any) -> None:
    """Add the operator's commands."""
    init = commands.add_parser("init", help="lay out a campaign's folder")
    init.add_argument("folder", type=Path)
    init.add_argument("--campaign", required=True, help="letters, digits, dashes")
    init.set_defaults(run=_init)

    serve = commands.add_parser("serve", help="serve the form and the desk's API")
    serve.add_argument("--config", type=Path, required=True, help="relay.toml")
    serve.set_defaults(run=_serve)

    demo = commands.add_parser("demo", help="serve a throwaway campaign, made where there is none")
    demo.add_argument("--dir", type=Path, default=Path("demo"), help="default: demo")
    demo.add_argument("--listen", help=f"default: {_DEFAULT_LISTEN}")
    demo.set_defaults(run=_demo)

    check = commands.add_parser("check", help="say how far this machine protects a relay")
    check.add_argument("--config", type=Path, required=True, help="relay.toml")
    check.add_argument("--json", action="store_true", help="for programs: docs/operator.md")
    check.set_defaults(run=_check)

    stats = commands.add_parser("stats", help="count what came on past days, and how it stands")
    stats.add_argument("--config", type=Path, required=True, help="relay.toml")
    stats.add_argument("--json", action="store_true", help="for programs: docs/operator.md")
    stats.set_defaults(run=_stats)

    purge = commands.add_parser("purge", help="destroy what is older than retain_days")
    purge.add_argument("--config", type=Path, required=True, help="relay.toml")
    purge.add_argument("--dry-run", action="store_true", help="say what would be destroyed")
    purge.add_argument("--json", action="store_true")
    purge.set_defaults(run=_purge)


def _init(arguments: argparse.Namespace) -> int:
    from relay.cli.campaign import CONFIG_NAME, make_campaign  # noqa: PLC0415 - it makes keys

    folder = arguments.folder
    make_campaign(folder, campaign=arguments.campaign, listen=_DEFAULT_LISTEN, is_demo=False)
    ServerConfig.load(folder / CONFIG_NAME)
    result(str(folder / CONFIG_NAME))
    say("Next: recipients.txt and staff.txt, as your colleagues make them (keys/ceremony.md),")
    say(f"then: relay serve --config {folder / CONFIG_NAME}")
    return 0


def _serve(arguments: argparse.Namespace) -> int:
    config = ServerConfig.load(arguments.config)
    doors = {
        "the form": _form_address(config),
        "the form, for tor": config.onion_listen,
        "the desk": config.desk_listen,
        "the operator": config.health_listen,
    }
    words = [f"  {door} at {where}" for door, where in doors.items() if where]
    return _run(config, [f"Serving {config.campaign}:", *words])


def _form_address(config: ServerConfig) -> str:
    if not isinstance(config.endpoint("listen"), tuple):
        return config.listen  # unix: and a path, systemd's socket, or nothing
    scheme = "http" if config.tls_key is None else "https"
    return f"{scheme}://{config.listen}/"


def _demo(arguments: argparse.Namespace) -> int:
    folder = arguments.dir
    if arguments.listen is not None:
        split_listen(arguments.listen, "--listen")
    memory.overwrite_freed()  # before a secret is made
    from relay.cli.campaign import CONFIG_NAME, DESK_NAME, make_campaign, write_desk  # noqa: PLC0415 - it makes keys

    if not (folder / CONFIG_NAME).is_file():
        listen = arguments.listen or _DEFAULT_LISTEN
        make_campaign(folder, campaign="demo", listen=listen, is_demo=True)
    config = ServerConfig.load(folder / CONFIG_NAME)
    config = dataclasses.replace(config, listen=arguments.listen or config.listen)
    write_desk(folder, config.listen)
    program = Path(sys.argv[0])
    desk = f"{program} desk --config {folder / DESK_NAME}"
    return _run(
        config,
        [
            f"A throwaway campaign in {folder}/, served on http://{config.listen}/ (Ctrl-C stops)",
            f"Send a photo:   open http://{config.listen}/en/ in a browser",
            f"Open it:        {desk} pull --to sealed/",
            f"                {desk} open sealed/ --to opened/",
        ],
    )


def _run(config: ServerConfig, words: list[str]) -> int:
    memory.overwrite_freed()
    from relay.intake.exposure import require_private  # noqa: PLC0415 - a desk has no server packages

    require_private(config)

    if not memory.is_freed_overwritten():
        _accept_memory(config)
    _set_limits()
    _log_events()
    from relay.intake.box import make_scrubber  # noqa: PLC0415 - the same

    scrubber = make_scrubber(config)
    scrubber.launch()  # it gets warm while the rest is loaded
    from relay.web.serve import serve  # noqa: PLC0415 - the same

    asyncio.run(serve(config, scrubber, on_ready=lambda: say("\n".join(words))))
    return 0


def _accept_memory(config: ServerConfig) -> None:
    if memory.NAME not in config.accept_missing:
        raise ConfigInvalid(
            "freed memory is not overwritten on this machine: that needs glibc. To go on with less "
            f"protection (docs/operator.md), add {memory.NAME!r} to accept_missing"
        )
    say("relay: accepted to be missing: memory")


def _set_limits() -> None:
    memory.forbid_dumps()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection is a descriptor


def _log_events() -> None:
    """Send our closed set of events to stderr, and nothing of anybody else's."""
    warnings.simplefilter("ignore")  # a library's warning may quote a header
    logging.lastResort = None
    events = logging.getLogger("relay")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("relay: %(message)s"))
    events.addHandler(handler)
    events.setLevel(logging.INFO)
    events.propagate = False


def _check(arguments: argparse.Namespace) -> int:
    from relay.intake.check import check  # noqa: PLC0415 - a desk has no server packages
    from relay.intake.finding import refused  # noqa: PLC0415 - the same
    from relay.web.catalogues import check_languages  # noqa: PLC0415 - the same
    from relay.web.posters import check_posters  # noqa: PLC0415 - the same

    try:
        config = ServerConfig.load(arguments.config)
    except ConfigInvalid as error:
        if arguments.json:
            _print_json([refused("relay.toml", error.message, blocks=True)])
        raise
    memory.overwrite_freed()
    findings = asyncio.run(check(config, arguments.config))
    findings = [*findings, check_languages(config), check_posters(config)]
    if arguments.json:
        _print_json(findings)
    else:
        _print_findings(findings)
    return 1 if any(finding.is_danger for finding in findings) else 0


def _print_json(findings: "list[Finding]") -> None:
    result_json(
        {
            "serves": not any(finding.blocks for finding in findings),
            "sound": not any(finding.is_danger for finding in findings),
            "findings": [vars(finding) for finding in findings],
        }
    )


def _print_findings(findings: "list[Finding]") -> None:
    for finding in findings:
        result(f"{finding.state:<9} {finding.name:<12} {printable(finding.words)}")
    in_the_way = dict.fromkeys(finding.name for finding in findings if finding.blocks)
    if in_the_way:
        say(f"relay serve refuses to start here, because of: {', '.join(in_the_way)}.")
        say("docs/operator.md says what each is for, and how to go without (accept_missing).")
    elif any(finding.is_danger for finding in findings):
        say("relay serve starts, and is in danger: mend each line that says refused.")


def _stats(arguments: argparse.Namespace) -> int:
    from relay.intake.stats import read_stats  # noqa: PLC0415 - a desk has no server packages
    from relay.intake.submit import utc_today  # noqa: PLC0415 - the same

    config = ServerConfig.load(arguments.config)
    report = asyncio.run(read_stats(config, today=utc_today()))
    if arguments.json:
        result_json(report)
        return 0
    for line in tell(report):
        result(line)
    return 0


def _purge(arguments: argparse.Namespace) -> int:
    config = ServerConfig.load(arguments.config)
    report = asyncio.run(_purge_queue(config, dry_run=arguments.dry_run))
    if arguments.json:
        result_json(report)
        return 0
    verb = "would be" if arguments.dry_run else "were"
    result(f"{report['expired']} envelopes {verb} destroyed, their time had run out.")
    result(f"{report['lapsed']} leases {verb} ended, {report['forgotten']} records forgotten.")
    return 0


async def _purge_queue(config: ServerConfig, *, dry_run: bool) -> dict[str, Any]:
    from relay.intake.storage import open_queue, require_queue  # noqa: PLC0415 - a desk has no server packages
    from relay.intake.submit import utc_today  # noqa: PLC0415 - the same

    require_queue(config)
    try:
        async with open_queue(config) as queue:
            purge = queue.count_due if dry_run else queue.turn_day
            purged = await purge(
                today=utc_today(), retain_days=config.retain_days, lease_days=config.lease_days
            )
    except NotKept as error:
        why = error.message if error.__cause__ is None else "can't be read or written as a queue"
        where = config.postgresql or config.database
        raise RelayError(f"{where}: {why}") from error
    return {"dry_run": dry_run, **vars(purged)}
