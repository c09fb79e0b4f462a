from pathlib import Path

import pytest

from local import deployment
from local.cloud import Cloud
from local.deployment import _complaint, _made_from, deploy, function_variables
from local.steps import Problem


def test_the_telling_line_of_a_failed_run_is_found(tmp_path: Path) -> None:
    log = tmp_path / "cdk.log"
    log.write_text(
        "✨  Synthesis time: 5s\n"
        "citypass-local-chatbot | 3:25 AM | CREATE_FAILED | AWS::Lambda::Function | SaveTag | too large\n"
        "bye\n"
    )

    assert _complaint(log).endswith("CREATE_FAILED | AWS::Lambda::Function | SaveTag | too large")
    log.write_text("one\ntwo\n\n")
    assert _complaint(log) == "two"
    log.write_text("")
    assert _complaint(log) == "it said nothing"


def test_other_sources_or_endpoints_are_another_deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployment, "ROOT", tmp_path)
    for source in ("app.py", "cdk.json", "package-lock.json"):
        (tmp_path / source).write_text("x")
    for folder in ("locks", "infra", "layers", "functions"):
        (tmp_path / folder / "__pycache__").mkdir(parents=True)
    first = _made_from({"LINE_API_ENDPOINT": "http://a"})

    (tmp_path / "functions" / "__pycache__" / "x.pyc").write_text("compiled")
    assert _made_from({"LINE_API_ENDPOINT": "http://a"}) == first
    assert _made_from({"LINE_API_ENDPOINT": "http://b"}) != first
    (tmp_path / "functions" / "x.py").write_text("new")
    assert _made_from({"LINE_API_ENDPOINT": "http://a"}) != first


ENDPOINTS = {
    "LINE_API_ENDPOINT": "http://127.0.0.1:8791",
    "WECHAT_API_ENDPOINT": "http://localhost:8792/wechat",
    "MESSENGER_API_ENDPOINT": "https://graph.facebook.com",
    "SMS_API_ENDPOINT": "http://127.0.0.1:8795",
}


CROS = "http://127.0.0.1:8794"


def test_tenants_may_name_the_stand_ins_of_the_channels_and_of_cros() -> None:
    places = "127.0.0.1:8791,localhost:8792,127.0.0.1:8794"
    assert function_variables(ENDPOINTS, {}, cros=CROS) == ENDPOINTS | {"OUTBOUND_EXCEPTIONS": places}
    assert function_variables({"LINE_API_ENDPOINT": "https://api.line.me"}, {}, cros=CROS) == {
        "LINE_API_ENDPOINT": "https://api.line.me"
    }


def test_what_the_environment_says_of_addresses_holds() -> None:
    said = {"OUTBOUND_EXCEPTIONS": "127.0.0.1:9999", "PUBLIC_URL": "https://tunnel.example.com"}

    told = function_variables(ENDPOINTS, said | {"OTHER": "x"}, cros=CROS)
    assert told == ENDPOINTS | said
    assert _made_from(told) != _made_from(function_variables(ENDPOINTS, {}, cros=CROS))


def test_a_failed_deployment_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(command: list[str], log: Path, **_: object) -> int:
        log.parent.mkdir(parents=True)
        log.write_text("❌  citypass-local-chatbot failed: no room\n")
        return 1

    monkeypatch.setattr(deployment, "run", failing)

    with pytest.raises(Problem) as raised:
        deploy(Cloud(tmp_path, 5001, 5002), {})

    assert str(raised.value) == (
        "cdk deploy failed: ❌  citypass-local-chatbot failed: no room"
        f" (all of it: {tmp_path}/log/cdk-deploy.log; make clean && make up starts over)"
    )
