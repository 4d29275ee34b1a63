"""cli, web -> intake, desk -> scrub, seal, queue, receipt -> errors, config, memory, campaign."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import relay

PACKAGE = Path(relay.__file__).parent
DOMAINS = {"scrub", "seal", "queue", "receipt"}
LEAVES = {"errors", "config", "campaign", "memory"}
MAY_IMPORT = {
    "errors": set(),
    "config": {"errors"},
    "campaign": {"errors"},
    "memory": {"errors"},
    **dict.fromkeys(DOMAINS, LEAVES),
    "intake": DOMAINS | LEAVES,
    "desk": DOMAINS | LEAVES,
    "posters": {"errors", "campaign"},
    "web": {"intake", "posters"} | DOMAINS | LEAVES,
    "cli": {"web", "intake", "desk", "posters"} | DOMAINS | LEAVES,
}
FRAMEWORKS = {"aiohttp", "jinja2", "multipart", "argparse"}
SERVER_ONLY = {"alembic", "sqlalchemy", "aiosqlite", "asyncpg", "jinja2", "multipart"}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def place(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


MODULES = [path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_arrows_go_one_way(path: Path) -> None:
    here = place(path)
    used = {name.split(".")[1] for name in imports(path) if name.startswith("relay.")}
    used -= {here, "__version__"}
    assert used <= MAY_IMPORT[here], f"{here} imports {used - MAY_IMPORT[here]}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_domains_and_use_cases_know_no_framework(path: Path) -> None:
    roots = {name.split(".")[0] for name in imports(path)}
    allowed = {"web": FRAMEWORKS, "cli": {"argparse"}, "desk": {"aiohttp"}}
    assert not roots & FRAMEWORKS - allowed.get(place(path), set())


def test_the_desk_runs_without_the_servers_packages() -> None:
    block = "".join(f"sys.modules[{name!r}] = None; " for name in sorted(SERVER_ONLY))
    code = f"import sys; {block}import relay.cli; relay.cli.main(['desk', 'open', '--help'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--to" in done.stdout


def test_a_desk_that_is_asked_to_serve_says_what_it_lacks(campaign: Path) -> None:
    block = "".join(f"sys.modules[{name!r}] = None; " for name in sorted(SERVER_ONLY))
    config = campaign / "relay.toml"
    command = f"relay.cli.main(['serve', '--config', {str(config)!r}])"
    code = f"import sys; {block}import relay.cli; sys.exit({command})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "poster-relay[server]" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_service_loads_no_decoder() -> None:
    code = (
        "import sys, relay.intake.exposure, relay.web.serve; "
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "relay" in done.stdout.split()
    assert not {"PIL", "pillow_heif"} & {*done.stdout.split()}


def test_request_post_appears_nowhere() -> None:
    for path in MODULES:
        tree = ast.parse(path.read_text("utf-8"))
        calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
        names = {f"{ast.unparse(call)}" for call in calls}
        assert not names & {"request.post", "request.multipart", "request.text", "request.read"}


def test_what_crossed_a_border_is_named_untrusted() -> None:
    for module, names in {
        "scrub/supervisor.py": {"untrusted_photo", "untrusted_jpeg"},
        "seal/envelope.py": {"untrusted_file", "untrusted_plaintext", "untrusted_json"},
        "web/upload.py": {"untrusted_photo"},
    }.items():
        text = (PACKAGE / module).read_text("utf-8")
        assert all(name in text for name in names)
