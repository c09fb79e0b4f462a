import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from local import cloud as cloud_module
from local.cloud import Background, Cloud, alone, free_port, main
from local.steps import Problem

SERVE = """
import http.server, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


def server(folder: Path, port: int, script: str = SERVE) -> Background:
    return Background(
        name="Web server",
        folder=folder,
        port=port,
        port_variable="WEB_PORT",
        health="/",
        command=(sys.executable, "-c", script, str(port)),
        environment={"PATH": os.environ["PATH"]},
    )


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Background]:
    process = server(tmp_path, free_port())
    yield process
    process.stop()


def test_starts_once_and_stops_once(web: Background) -> None:
    assert [web.running, web.start(), web.running, web.start()] == [False, True, True, False]

    assert [web.stop(), web.running, web.stop()] == [True, False, False]
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", web.port)) != 0


def test_starts_again_after_it_was_killed(web: Background) -> None:
    web.start()
    os.kill(json.loads((web.folder / "web-server.pid").read_text())["pid"], signal.SIGKILL)
    deadline = time.monotonic() + 10
    while web.running and time.monotonic() < deadline:
        time.sleep(0.01)

    assert web.start() is True


def test_a_number_that_is_another_process_now_is_left_alone(web: Background) -> None:
    web.folder.mkdir(exist_ok=True)
    (web.folder / "web-server.pid").write_text(json.dumps({"pid": os.getpid(), "port": web.port}))

    assert web.running is False
    assert web.stop() is False
    assert web.start() is True


def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        with pytest.raises(Problem) as raised:
            server(tmp_path, port).start()

    assert str(raised.value) == (
        f"port {port} is in use by another program: stop it, or choose another port for Web server with WEB_PORT"
    )


def test_another_port_while_it_runs_is_refused(web: Background) -> None:
    web.start()

    with pytest.raises(Problem, match=rf"^Web server already runs on port {web.port}: make down first$"):
        replace(web, port=free_port()).start()


def test_what_it_said_is_shown_when_it_ends_at_once(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"^Web server ended at once; it said: no such thing \(log: .+web-server.log\)$"):
        server(tmp_path, free_port(), "import sys; sys.exit('no such thing')").start()


def test_a_process_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud_module, "_START_SECONDS", 0.2)
    process = server(tmp_path, free_port(), "import time; time.sleep(60)")

    with pytest.raises(Problem, match="does not answer on port"):
        process.start()

    assert process.stop() is True


def test_only_one_command_at_a_time(tmp_path: Path) -> None:
    with (
        alone(tmp_path),
        pytest.raises(Problem, match=r"^another make up, down or clean is at work in this folder: wait for it$"),
        alone(tmp_path),
    ):
        pass


def test_ports_come_from_the_environment() -> None:
    named = Cloud.of_environment({"CITYPASS_PORT": "5001", "CITYPASS_LINE_PORT": "5002"})

    assert (named.port, named.line_port) == (5001, 5002)
    assert Cloud.of_environment({}) == Cloud()
    usual = Cloud()
    doubles = (usual.line_port, usual.messenger_port, usual.wechat_port, usual.cros_port, usual.sms_port)
    assert (usual.port, *doubles) == (4566, 8791, 8792, 8793, 8794, 8795)
    names = ("CITYPASS_MESSENGER_PORT", "CITYPASS_WECHAT_PORT", "CITYPASS_CROS_PORT", "CITYPASS_SMS_PORT")
    others = Cloud.of_environment({name: str(port) for port, name in enumerate(names, 5003)})
    assert [others.messenger_url, others.wechat_url, others.cros_url, others.sms_url] == [
        f"http://127.0.0.1:{port}" for port in (5003, 5004, 5005, 5006)
    ]
    assert named.api_base("abc", "local") == "http://127.0.0.1:5001/_aws/execute-api/abc/local"


@pytest.mark.parametrize("text", ["", "80", "65536", "4566x", "-1", "٤٥٦٦"])
def test_a_port_that_is_none_is_refused(text: str) -> None:
    if text == "":
        assert Cloud.of_environment({"CITYPASS_PORT": text}).port == 4566
        return
    with pytest.raises(Problem, match="is no port"):
        Cloud.of_environment({"CITYPASS_PORT": text})


def test_the_same_port_twice_is_refused() -> None:
    with pytest.raises(Problem, match="are both 5001"):
        Cloud.of_environment({"CITYPASS_PORT": "5001", "CITYPASS_LINE_PORT": "5001"})
    with pytest.raises(Problem, match=r"^CITYPASS_LINE_PORT and CITYPASS_CROS_PORT are both 8791: choose two ports$"):
        Cloud.of_environment({"CITYPASS_CROS_PORT": "8791"})


def test_every_double_starts_on_its_port_and_stops(tmp_path: Path) -> None:
    private = Cloud(tmp_path, *(free_port() for _ in range(6)))
    doubles = (private.simulator, private.messenger, private.wechat, private.cros, private.sms)
    try:
        assert [double.start() for double in doubles] == [True] * 5
        assert [double.port for double in doubles] == [
            private.line_port,
            private.messenger_port,
            private.wechat_port,
            private.cros_port,
            private.sms_port,
        ]
    finally:
        stopped = private.stop()
    assert stopped == ["LINE simulator", "Messenger simulator", "WeChat simulator", "CROS double", "SMS simulator"]


def test_nothing_of_the_developers_own_aws_gets_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "HTTPS_PROXY", "http_proxy", "PYTHONPATH"):
        monkeypatch.setenv(name, "theirs")
    private = Cloud(tmp_path, 5001, 5002)

    assert "theirs" not in private.emulator.environment.values()
    assert private.emulator.environment["BIND_HOST"] == "127.0.0.1"
    clients = private.clients_environment()
    assert clients["AWS_ENDPOINT_URL"] == "http://127.0.0.1:5001"
    assert {name for name, value in clients.items() if value == "theirs"} == {"PYTHONPATH"}


def test_a_broken_state_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "sqs.json").write_text('{"half": ')

    with pytest.raises(Problem, match=r"sqs\.json is no JSON: make clean && make up starts over$"):
        Cloud(tmp_path, free_port(), free_port()).start()


def test_clean_removes_the_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    private = Cloud(tmp_path / "kept", free_port(), free_port())
    (private.folder / "state").mkdir(parents=True)

    assert main(["stop"], private) == 0
    assert private.folder.exists()
    assert main(["nonsense"], private) == 1

    said = capsys.readouterr()
    assert said.out == "nothing was running\n"
    assert said.err == "usage: python -m local.cloud stop|clean\n"
