"""A private PostgreSQL on loopback, with a password, made for one run of tests and gone with it."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from relay.config import PostgresServer
from tests import conftest

USER = "relay"
OWNER = "postgres"  # who may do everything there; the relay may not
PASSWORD = "a password of these tests"
ACCOUNT = "postgres"  # PostgreSQL refuses to run as root
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "60",
    "shared_buffers": "32MB",
    # As docs/operator.md says.
    "wal_recycle": "off",
    "min_wal_size": "32MB",
    "max_wal_size": "256MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_checkpoints": "off",
    "log_autovacuum_min_duration": "-1",
}


@dataclass
class Postgres:
    """One server. Its folder is in memory: what a sync is for, other tests show."""

    folder: Path
    port: int
    made: int = 0
    is_laid_out: bool = False
    process: subprocess.Popen[bytes] | None = None
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def password_file(self) -> Path:
        return self.folder / "password"

    def url(self, name: str) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{name}"

    def address(self, name: str) -> PostgresServer:
        return PostgresServer(
            user=USER,
            host="127.0.0.1",
            port=self.port,
            name=name,
            password_file=self.password_file,
            ca=None,
        )

    def configuration(self, name: str) -> dict[str, str]:
        """What relay.toml needs, for `conftest.configure`."""
        return {
            "postgresql": f'"{self.url(name)}"',
            "postgresql_password": f'"{self.password_file}"',
        }

    def make(self) -> None:
        """Lay out the server's folder."""
        self.password_file.write_text(PASSWORD + "\n")
        self.password_file.chmod(0o600)
        if os.geteuid() == 0:
            shutil.chown(self.folder, ACCOUNT)
            shutil.chown(self.password_file, ACCOUNT)
        options = [f"--username={OWNER}", "--auth=scram-sha-256", f"--pwfile={self.password_file}"]
        data = [f"--pgdata={self.folder / 'data'}", "--no-sync", "--encoding=UTF8", "--locale=C"]
        command = [*as_account(), program("initdb"), *options, *data]
        subprocess.run(command, check=True, capture_output=True, cwd="/")
        if os.geteuid() == 0:
            shutil.chown(self.password_file, "root")

    def give(self, name: str, content: str) -> None:
        """Put a file into the server's folder, for its account alone."""
        path = self.folder / "data" / name
        path.write_text(content)
        path.chmod(0o600)
        if os.geteuid() == 0:
            shutil.chown(path, ACCOUNT)

    def start(self) -> None:
        """Start it and wait until it answers."""
        settings = SETTINGS | {"port": str(self.port)} | self.settings
        words = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [*as_account(), program("postgres"), "-D", str(self.folder / "data"), *words]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/")
        conftest.wait_until(self.answers, seconds=60)
        if not self.is_laid_out:
            rights = f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'"
            self.say(rights, f"GRANT pg_read_all_settings TO {USER}")
            self.is_laid_out = True

    def say(self, *statements: str) -> None:
        """Have statements carried out, by who may do everything."""
        words = [part for statement in statements for part in ("-c", statement)]
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", OWNER, "-d", "postgres", "-qXAt"]
        env = {**os.environ, "PGPASSWORD": PASSWORD}
        command = [program("psql"), *where, *words]
        subprocess.run(command, check=True, env=env, cwd="/", capture_output=True)

    @property
    def log_file(self) -> Path:
        return self.folder / "log"

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log_file.read_text()
        ready = [program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(ready, check=False).returncode == 0

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT is what PostgreSQL calls fast, SIGQUIT immediate."""
        assert self.process is not None
        self.process.send_signal(how)
        self.process.wait(timeout=60)

    def kill(self) -> None:
        """Kill it with all its children, as a machine that loses its power would."""
        assert self.process is not None
        pids = [self.process.pid, *children(self.process.pid)]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        self.process.wait()
        conftest.wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))

    def create(self) -> str:
        """Make a database; return its name."""
        self.made += 1
        name = f"relay{self.made}"
        self.say(f"CREATE DATABASE {name} OWNER {USER}")
        return name

    async def connect(self, name: str, user: str = USER) -> asyncpg.Connection:
        return await asyncpg.connect(
            host="127.0.0.1",
            port=self.port,
            user=user,
            database=name,
            password=PASSWORD,
            ssl=False,
        )


def program(name: str) -> str:
    """Where Debian keeps PostgreSQL's own programs: not on the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else name


def as_account() -> list[str]:
    if os.geteuid() != 0:
        return []
    account = pwd.getpwnam(ACCOUNT)
    ids = [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
    return ["setpriv", *ids, "--"]


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextmanager
def server(**settings: str) -> Iterator[Postgres]:
    """A server that runs while inside."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        Path(folder).chmod(0o700)
        running = Postgres(Path(folder), conftest.free_port(), settings=settings)
        running.make()
        running.start()
        try:
            yield running
        finally:
            assert running.process is not None
            if running.process.poll() is None:
                running.stop()
