import json
import re
import stat
from dataclasses import asdict
from pathlib import Path

from chatbot.graph import flaws_of_nodes
from local import demo_bot
from local.seed import line_credentials, new_account_id, new_password, other_channels, tenants, write_json


def test_new_tenants_have_everything_and_share_nothing() -> None:
    made = tenants({}, {})

    assert {name: tenant.adminId for name, tenant in made.items()} == {"chatbot": "0001", "chatbotOther": "0002"}
    values = [value for tenant in made.values() for value in asdict(tenant).values()]
    assert all(values)
    assert len(set(values)) == len(values)


def test_tenants_that_are_known_stay() -> None:
    made = tenants({}, {})
    kept = {name: asdict(tenant) for name, tenant in made.items()}

    assert tenants(kept, {}) == made
    assert tenants({"chatbot": kept["chatbot"]}, {})["chatbot"] == made["chatbot"]


def test_a_tenant_that_is_known_in_part_is_made_anew() -> None:
    kept = {"chatbot": {**asdict(tenants({}, {})["chatbot"]), "partnerKey": None}}

    assert tenants(kept, {})["chatbot"].password != kept["chatbot"]["password"]


def test_a_real_channel_takes_the_place_of_the_made_up_one() -> None:
    real = {"LINE_CHANNEL_SECRET": "secret", "LINE_CHANNEL_ACCESS_TOKEN": "token"}

    tenant = tenants({}, real)["chatbot"]

    assert (tenant.accountSecret, tenant.accountToken) == ("secret", "token")
    assert line_credentials({"LINE_CHANNEL_SECRET": "secret"}) is None


def test_the_first_tenant_has_channels_of_messenger_and_wechat() -> None:
    made = other_channels({})

    assert {name: channel.accountType for name, channel in made.items()} == {"messenger": "fb", "wechat": "wechat"}
    assert [bool(channel.appId) for channel in made.values()] == [False, True]
    assert len({value for one in made.values() for value in asdict(one).values()}) == 10
    wanted = f"http://x/local/api/wechat?adminid=0001&accountid={made['wechat'].accountId}"
    assert made["wechat"].webhook("http://x/local", "0001") == wanted


def test_channels_that_are_known_stay() -> None:
    made = other_channels({})
    kept = {name: asdict(channel) for name, channel in made.items()}

    assert other_channels({"chatbot": kept}) == made
    assert other_channels({"chatbot": {"wechat": kept["wechat"], "messenger": "?"}})["wechat"] == made["wechat"]
    broken = {**kept["wechat"], "appId": None}
    assert other_channels({"chatbot": {"wechat": broken}})["wechat"] != made["wechat"]


def test_passwords_have_every_kind_of_character() -> None:
    for _ in range(50):
        password = new_password()
        assert len(password) == 20
        for kind in (r"[a-z]", r"[A-Z]", r"\d", r"[-_.+]"):
            assert re.search(kind, password)


def test_account_ids_have_the_documents_shape() -> None:
    assert re.fullmatch(r"[0-9a-z]{9}(-[0-9a-z]{4}){3}-[0-9a-z]{14}", new_account_id())


def test_the_webhook_names_tenant_and_channel() -> None:
    tenant = tenants({}, {})["chatbot"]

    wanted = f"http://x/local/api/LineMessage/send?adminid=0001&accountid={tenant.accountId}"
    assert tenant.webhook("http://x/local") == wanted


def test_what_is_written_only_its_owner_reads(tmp_path: Path) -> None:
    path = tmp_path / "demo.json"
    path.write_text("old")

    write_json(path, {"name": "城市通"})

    assert json.loads(path.read_text(encoding="utf-8")) == {"name": "城市通"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_the_demo_bot_has_no_flaw() -> None:
    known: set[str] = set()
    for scenario in demo_bot.scenarios():
        head = scenario["scenario"]
        assert flaws_of_nodes(scenario["nodes"], head["scenarioId"], known) == [], head["scenarioName"]
        known.add(head["scenarioId"])
    for scenario in demo_bot.other_scenarios():
        assert flaws_of_nodes(scenario["nodes"], scenario["scenario"]["scenarioId"], set()) == []


def test_every_keyword_that_the_demo_bot_offers_is_one() -> None:
    keywords = {word for one in demo_bot.scenarios() for word in one["scenario"]["keywords"]}
    offered = set(
        re.findall(
            r'"type": "message", "label": "[^"]+", "text": "([^"]+)"',
            json.dumps(demo_bot.scenarios(), ensure_ascii=False),
        )
    )

    assert offered == {"報名", "資訊", "興趣", "我的報名", "選單", *demo_bot.INTEREST_VALUES}
    assert offered - set(demo_bot.INTEREST_VALUES) <= keywords
