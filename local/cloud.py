"""The embedded cloud: MiniStack and the doubles beside it as background processes, with their state in one folder."""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.steps import PYTHON, ROOT, Problem

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cognito_idp import CognitoIdentityProviderClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_secretsmanager import SecretsManagerClient

FOLDER = ROOT / ".local"
HOST = "127.0.0.1"
ACCOUNT = "000000000000"
REGION = "us-east-1"
START_OVER = "make clean && make up starts over"

_START_SECONDS = 30.0
# MiniStack writes its whole state when it is asked to stop, and kills no data then.
_STOP_SECONDS = 60.0
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE")

# A process that nobody waits for stays a zombie until its parent ends.
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class Background:
    """A process that outlives the command that started it.

    It holds a lock on its own file as long as it lives, so a number that the system gave to another process
    meanwhile is never mistaken for it.
    """

    name: str
    folder: Path
    port: int
    port_variable: str
    health: str
    command: tuple[str, ...]
    environment: Mapping[str, str]

    @property
    def log(self) -> Path:
        """Where the process writes what it has to say."""
        return self.folder / "log" / f"{self._file_name}.log"

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._record() is not None

    def start(self) -> bool:
        """Start the process and wait until it answers; False when it runs already."""
        record = self._record()
        if record is not None:
            if record["port"] != self.port:
                raise Problem(f"{self.name} already runs on port {record['port']}: make down first")
            self._wait_until_it_answers()
            return False
        if _taken(self.port):
            raise Problem(
                f"port {self.port} is in use by another program: stop it, or choose another port for {self.name}"
                f" with {self.port_variable}"
            )
        for pid in [pid for pid, child in _children.items() if child.poll() is not None]:
            del _children[pid]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a+") as file, self.log.open("wb") as log:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=[file.fileno()],
            )
            _children[process.pid] = process
            file.truncate(0)
            json.dump({"pid": process.pid, "port": self.port}, file)
        self._wait_until_it_answers()
        return True

    def stop(self) -> bool:
        """End the process and what it started, and wait for it; False when it does not run."""
        record = self._record()
        if record is None:
            return False
        pid = record["pid"]
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        while self.running and time.monotonic() < deadline:
            time.sleep(0.05)
        # The workers of the functions end on their own, but not always at once.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        if (child := _children.pop(pid, None)) is not None:
            child.wait()
        self._file.unlink(missing_ok=True)
        return True

    @property
    def _file_name(self) -> str:
        return self.name.lower().replace(" ", "-")

    @property
    def _file(self) -> Path:
        return self.folder / f"{self._file_name}.pid"

    def _record(self) -> dict[str, int] | None:
        try:
            with self._file.open("r") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    record: dict[str, int] = json.load(file)
                    return record
        except FileNotFoundError:
            pass
        return None

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(self.port, self.health):
            alive = self.running
            if not alive or time.monotonic() > deadline:
                said = _last_line(self.log) or "nothing"
                what = f"does not answer on port {self.port}" if alive else "ended at once"
                raise Problem(f"{self.name} {what}; it said: {said} (log: {self.log})")
            time.sleep(0.05)


@dataclass(frozen=True)
class Cloud:
    """An embedded AWS, and beside it the doubles of the channels, CROS and SMS, with what they keep in `folder`."""

    folder: Path = FOLDER
    port: int = 4566
    line_port: int = 8791
    messenger_port: int = 8792
    wechat_port: int = 8793
    cros_port: int = 8794
    sms_port: int = 8795

    @classmethod
    def of_environment(cls, variables: Mapping[str, str] = os.environ) -> Cloud:
        """Return the cloud of this checkout, on the ports that the environment names."""
        ports = {field: _port(variables, name, getattr(cls, field)) for field, name in _PORTS.items()}
        named: dict[int, str] = {}
        for field, port in ports.items():
            if port in named:
                raise Problem(f"{named[port]} and {_PORTS[field]} are both {port}: choose two ports")
            named[port] = _PORTS[field]
        return cls(FOLDER, **ports)

    @property
    def endpoint(self) -> str:
        """The address of every AWS service."""
        return f"http://{HOST}:{self.port}"

    @property
    def simulator_url(self) -> str:
        """The address of the double of LINE."""
        return f"http://{HOST}:{self.line_port}"

    @property
    def messenger_url(self) -> str:
        """The address of the double of Messenger."""
        return f"http://{HOST}:{self.messenger_port}"

    @property
    def wechat_url(self) -> str:
        """The address of the double of WeChat."""
        return f"http://{HOST}:{self.wechat_port}"

    @property
    def cros_url(self) -> str:
        """The address of the double of CROS, which conversations order from."""
        return f"http://{HOST}:{self.cros_port}"

    @property
    def sms_url(self) -> str:
        """The address of the double of the SMS provider."""
        return f"http://{HOST}:{self.sms_port}"

    def api_base(self, api_id: str, stage: str) -> str:
        """Return the address to which an API's paths are appended."""
        return f"{self.endpoint}/_aws/execute-api/{api_id}/{stage}"

    @property
    def emulator(self) -> Background:
        """MiniStack, with its state kept in the folder."""
        temporary = self.folder / "tmp"
        return Background(
            name="MiniStack",
            folder=self.folder,
            port=self.port,
            port_variable=_PORTS["port"],
            health="/_ministack/health",
            command=(str(PYTHON), "-m", "local.emulator"),
            # Functions inherit all of this, so nothing of the developer's own AWS set-up may be in it.
            environment=_passed_on()
            | {
                "GATEWAY_PORT": str(self.port),
                "BIND_HOST": HOST,
                "PERSIST_STATE": "1",
                "STATE_DIR": str(self.folder / "state"),
                "S3_PERSIST": "1",
                "S3_DATA_DIR": str(self.folder / "s3"),
                "TMPDIR": str(temporary),
                "LAMBDA_STATE_TRANSITION_SECONDS": "0",
                # They would listen on ports of their own.
                "SFTP_ENABLED": "0",
                "IOT_MTLS_ENABLED": "0",
                "PYTHONUTF8": "1",
            },
        )

    @property
    def simulator(self) -> Background:
        """The double of LINE's Messaging API."""
        return self._double("LINE simulator", "line_port", "local.line_simulator")

    @property
    def messenger(self) -> Background:
        """The double of Messenger's Send API."""
        return self._double("Messenger simulator", "messenger_port", "local.messenger_simulator")

    @property
    def wechat(self) -> Background:
        """The double of WeChat's API."""
        return self._double("WeChat simulator", "wechat_port", "local.wechat_simulator")

    @property
    def cros(self) -> Background:
        """The double of CROS."""
        return self._double("CROS double", "cros_port", "local.cros_double", health="/_simulator/requests")

    @property
    def sms(self) -> Background:
        """The double of the SMS provider."""
        return self._double("SMS simulator", "sms_port", "local.sms_simulator", health="/_simulator/messages")

    def _double(
        self, name: str, field: str, module: str, health: str = "/_simulator/messages?user=nobody"
    ) -> Background:
        port: int = getattr(self, field)
        return Background(
            name=name,
            folder=self.folder,
            port=port,
            port_variable=_PORTS[field],
            health=health,
            command=(str(PYTHON), "-m", module, "--port", str(port)),
            environment=_passed_on() | {"PYTHONUTF8": "1"},
        )

    def start(self) -> bool:
        """Start MiniStack with the state it had; False when it runs already."""
        if not self.emulator.running:
            self._check_state()
            # What functions unpacked for themselves is of no use to the next run.
            shutil.rmtree(self.folder / "tmp", ignore_errors=True)
            (self.folder / "tmp").mkdir(parents=True)
        return self.emulator.start()

    def stop(self) -> list[str]:
        """Stop what runs and return its names; the data stays."""
        everything = (self.simulator, self.messenger, self.wechat, self.cros, self.sms, self.emulator)
        return [process.name for process in everything if process.stop()]

    def clients_environment(self) -> dict[str, str]:
        """Return the variables that lead AWS clients here, whatever the developer's own are."""
        theirs = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("AWS_") and not name.lower().endswith("_proxy")
        }
        return theirs | {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def cloudformation(self) -> CloudFormationClient:
        """Return a client of CloudFormation."""
        client: CloudFormationClient = self._client("cloudformation")
        return client

    def cognito(self) -> CognitoIdentityProviderClient:
        """Return a client of Cognito's user pools."""
        client: CognitoIdentityProviderClient = self._client("cognito-idp")
        return client

    def dynamodb(self) -> DynamoDBClient:
        """Return a client of DynamoDB."""
        client: DynamoDBClient = self._client("dynamodb")
        return client

    def secrets(self) -> SecretsManagerClient:
        """Return a client of Secrets Manager."""
        client: SecretsManagerClient = self._client("secretsmanager")
        return client

    def _client(self, service: Any) -> Any:
        import boto3  # takes a while, and stopping the cloud needs none of it
        from botocore.config import Config

        return boto3.Session("test", "test", region_name=REGION).client(
            service, endpoint_url=self.endpoint, config=Config(proxies={}, retries={"max_attempts": 1})
        )

    def _check_state(self) -> None:
        # MiniStack passes over a file that it cannot read and starts without what was in it.
        for file in sorted((self.folder / "state").glob("*.json")):
            try:
                json.loads(file.read_bytes())
            except ValueError:
                raise Problem(f"the kept state is broken, {file} is no JSON: {START_OVER}") from None


# The variable that names each port, by the field that holds it.
_PORTS = {
    "port": "CITYPASS_PORT",
    "line_port": "CITYPASS_LINE_PORT",
    "messenger_port": "CITYPASS_MESSENGER_PORT",
    "wechat_port": "CITYPASS_WECHAT_PORT",
    "cros_port": "CITYPASS_CROS_PORT",
    "sms_port": "CITYPASS_SMS_PORT",
}


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other commands from starting and stopping the same cloud meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "turn.lock").open("w") as turn:
        try:
            fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Problem("another make up, down or clean is at work in this folder: wait for it") from None
        yield


def free_port() -> int:
    """Return a port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _passed_on() -> dict[str, str]:
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ}


def _port(variables: Mapping[str, str], name: str, default: int) -> int:
    text = variables.get(name) or str(default)
    if not (text.isascii() and text.isdecimal() and 1024 <= int(text) < 65536):
        raise Problem(f"{name}={text} is no port: give a number from 1024 to 65535")
    return int(text)


def _taken(port: int) -> bool:
    # On some systems one may listen on an address although somebody else listens on all of them.
    with socket.socket() as probe:
        if probe.connect_ex((HOST, port)) == 0:
            return True
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _clean(cloud: Cloud) -> None:
    cloud.stop()
    for made in (cloud.folder, ROOT / "build", ROOT / "cdk.out"):
        shutil.rmtree(made, ignore_errors=True)


def main(arguments: Sequence[str], cloud: Cloud | None = None) -> int:
    """Stop the local stack (`stop`), or stop it and throw away its data (`clean`)."""
    try:
        cloud = cloud or Cloud.of_environment()
        with alone(cloud.folder):
            match arguments:
                case ["stop"]:
                    stopped = cloud.stop()
                    print(f"stopped: {', '.join(stopped)}; the data stays" if stopped else "nothing was running")
                case ["clean"]:
                    _clean(cloud)
                    print("the local stack and its data are gone")
                case _:
                    raise Problem("usage: python -m local.cloud stop|clean")
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
