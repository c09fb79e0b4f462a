"""Conventions that no type can hold: what belongs to a function, what it may import, what nobody does."""

import ast
import json
import os
import subprocess
import sys

import pytest

from infra.discovery import FUNCTIONS, ROOT, Declaration, declarations, systems
from kernel.operations import public

LAYERS = ROOT / "layers"
EVENTS = ROOT / "events"
TESTS = ROOT / "tests"
NAMES = [(path.parent.name, path.stem) for path in sorted(FUNCTIONS.glob("*/*.py"))]
PACKAGES = {path.parent.name: path.parent for path in sorted(LAYERS.glob("*/python/*/__init__.py"))}
LINES_OF_A_FUNCTION = 40

# Who may be called by anybody: nobody else without a written reason.
PUBLIC = {
    ("chatbot", "login"): "there is no credential before it",
    ("chatbot", "show_liff_page"): "people of LINE open it; the token in it says for which segment and no more",
    ("chatbot", "show_picture"): "LINE's servers and phones fetch it, and the id in its path cannot be guessed",
    ("chatbot", "show_whole_picture"): "LINE's servers and phones fetch it, and the id in its path cannot be guessed",
    ("membership", "admin_login"): "there is no credential before it",
    ("membership", "login"): "there is no credential before it",
    ("membership", "show_item"): "pictures are shown by addresses that cannot be guessed",
    ("membership", "upload_image"): "the contract says so (5.1); size, kind and rate are limited",
}

# Modules beside Python's own that importing a function loads, because cold starts pay for each of them.
# A number grows only on purpose; SLACK is for what a new version of a dependency brings along.
SLACK = 5
MODULES = {
    ("chatbot", "answer_event"): 165,
    ("chatbot", "apply_menus"): 161,
    ("chatbot", "create_account"): 168,
    ("chatbot", "create_partner_key"): 142,
    ("chatbot", "delete_broadcast"): 157,
    ("chatbot", "delete_form"): 143,
    ("chatbot", "delete_icon_url"): 141,
    ("chatbot", "delete_menu"): 161,
    ("chatbot", "delete_scenario"): 156,
    ("chatbot", "delete_tag"): 141,
    ("chatbot", "delete_user_data"): 147,
    ("chatbot", "delete_user_segment"): 154,
    ("chatbot", "delete_variable"): 141,
    ("chatbot", "diff_scenario_versions"): 157,
    ("chatbot", "erase_user_data"): 147,
    ("chatbot", "estimate_broadcast"): 165,
    ("chatbot", "export_bot"): 175,
    ("chatbot", "fetch_export"): 142,
    ("chatbot", "get_account"): 142,
    ("chatbot", "get_broadcast_history"): 157,
    ("chatbot", "get_broadcast_plan"): 157,
    ("chatbot", "get_broadcast_progress"): 157,
    ("chatbot", "get_broadcast_recipients"): 157,
    ("chatbot", "get_chat_history"): 140,
    ("chatbot", "get_chat_history_csv"): 148,
    ("chatbot", "get_check_test"): 139,
    ("chatbot", "get_clicks"): 142,
    ("chatbot", "get_cors_error"): 140,
    ("chatbot", "get_form"): 143,
    ("chatbot", "get_icon_url"): 141,
    ("chatbot", "get_menu"): 161,
    ("chatbot", "get_partner_keys"): 142,
    ("chatbot", "get_report_csv"): 148,
    ("chatbot", "get_scenario"): 156,
    ("chatbot", "get_scenario_versions"): 157,
    ("chatbot", "get_tag"): 141,
    ("chatbot", "get_user_count"): 140,
    ("chatbot", "get_user_form"): 143,
    ("chatbot", "get_user_history_csv"): 148,
    ("chatbot", "get_user_segment"): 154,
    ("chatbot", "get_user_variable_csv"): 148,
    ("chatbot", "get_user_variable_history"): 141,
    ("chatbot", "get_users_list"): 140,
    ("chatbot", "get_variable"): 141,
    ("chatbot", "img_mapfile"): 142,
    ("chatbot", "import_bot"): 175,
    ("chatbot", "login"): 141,
    ("chatbot", "open_link"): 144,
    ("chatbot", "pause_broadcast"): 157,
    ("chatbot", "preview_scenario"): 157,
    ("chatbot", "push_line_messages"): 156,
    ("chatbot", "receive_chichatcat_order"): 140,
    ("chatbot", "receive_line_events"): 150,
    ("chatbot", "receive_messenger_events"): 149,
    ("chatbot", "receive_penglue_order"): 140,
    ("chatbot", "receive_user_click"): 142,
    ("chatbot", "receive_wechat_events"): 168,
    ("chatbot", "resume_broadcast"): 157,
    ("chatbot", "revoke_partner_key"): 142,
    ("chatbot", "rich_message_api"): 140,
    ("chatbot", "roll_back_scenario"): 157,
    ("chatbot", "run_broadcast"): 172,
    ("chatbot", "save_form"): 143,
    ("chatbot", "save_icon_url"): 141,
    ("chatbot", "save_menu"): 161,
    ("chatbot", "save_scenario"): 156,
    ("chatbot", "save_scenario_api"): 140,
    ("chatbot", "save_tag"): 141,
    ("chatbot", "save_user_segment"): 154,
    ("chatbot", "save_variable"): 141,
    ("chatbot", "schedule_broadcast"): 157,
    ("chatbot", "schedule_users_import"): 140,
    ("chatbot", "send_broadcast_chunk"): 172,
    ("chatbot", "show_liff_page"): 157,
    ("chatbot", "show_picture"): 142,
    ("chatbot", "show_whole_picture"): 142,
    ("chatbot", "start_due"): 160,
    ("chatbot", "stop_broadcast"): 157,
    ("chatbot", "update_account"): 142,
    ("chatbot", "update_account_external_api_config"): 141,
    ("chatbot", "user_segment_register_via_liff"): 157,
    ("chatbot", "verify_messenger_webhook"): 149,
    ("chatbot", "verify_wechat_server"): 168,
    ("chatbot", "write_export"): 148,
    ("membership", "add_invoice"): 159,
    ("membership", "admin_login"): 146,
    ("membership", "change_password"): 145,
    ("membership", "close_day"): 160,
    ("membership", "confirm_cash_back"): 158,
    ("membership", "create_account"): 152,
    ("membership", "create_coupon"): 165,
    ("membership", "create_event"): 165,
    ("membership", "create_export"): 149,
    ("membership", "create_import"): 161,
    ("membership", "create_merchant"): 149,
    ("membership", "create_product"): 165,
    ("membership", "create_store"): 149,
    ("membership", "explain_card"): 160,
    ("membership", "get_account"): 152,
    ("membership", "get_coupon"): 165,
    ("membership", "get_event"): 165,
    ("membership", "get_event_detail"): 157,
    ("membership", "get_export"): 149,
    ("membership", "get_import"): 161,
    ("membership", "get_manager_info"): 145,
    ("membership", "get_merchant"): 149,
    ("membership", "get_product"): 165,
    ("membership", "get_proof"): 160,
    ("membership", "get_store"): 149,
    ("membership", "get_user_card_detail"): 158,
    ("membership", "get_user_cards"): 158,
    ("membership", "give_coupon"): 159,
    ("membership", "list_card_events"): 157,
    ("membership", "list_card_invoices"): 159,
    ("membership", "list_closings"): 160,
    ("membership", "list_expenses"): 149,
    ("membership", "list_giftable_coupons"): 159,
    ("membership", "list_merchant_accounts"): 152,
    ("membership", "list_merchant_closings"): 161,
    ("membership", "list_merchant_coupons"): 165,
    ("membership", "list_merchant_events"): 165,
    ("membership", "list_merchant_products"): 165,
    ("membership", "list_merchant_stores"): 149,
    ("membership", "list_merchants"): 149,
    ("membership", "list_openable_cards"): 159,
    ("membership", "list_recharges"): 149,
    ("membership", "list_refunds"): 149,
    ("membership", "list_stores"): 144,
    ("membership", "login"): 145,
    ("membership", "open_card"): 156,
    ("membership", "pack_list"): 140,
    ("membership", "prove_books"): 159,
    ("membership", "prove_merchant"): 159,
    ("membership", "recharge_card"): 161,
    ("membership", "redeem_coupon"): 161,
    ("membership", "refund_expense"): 163,
    ("membership", "refund_recharge"): 163,
    ("membership", "request_packing"): 139,
    ("membership", "reset_pay_password"): 155,
    ("membership", "run_import"): 161,
    ("membership", "scan_qrcode"): 160,
    ("membership", "search_customers"): 155,
    ("membership", "search_invoices"): 149,
    ("membership", "search_users"): 149,
    ("membership", "send_sms_code"): 150,
    ("membership", "set_account_password"): 152,
    ("membership", "set_account_state"): 152,
    ("membership", "set_coupon_state"): 165,
    ("membership", "set_import_state"): 161,
    ("membership", "set_product_state"): 165,
    ("membership", "set_store_state"): 149,
    ("membership", "show_card_code"): 148,
    ("membership", "show_coupon_code"): 148,
    ("membership", "show_item"): 145,
    ("membership", "spend_from_card"): 158,
    ("membership", "start_proof"): 160,
    ("membership", "update_account"): 152,
    ("membership", "update_card"): 155,
    ("membership", "update_coupon"): 165,
    ("membership", "update_customer"): 155,
    ("membership", "update_event"): 165,
    ("membership", "update_merchant"): 149,
    ("membership", "update_product"): 165,
    ("membership", "update_store"): 149,
    ("membership", "upload_image"): 145,
    ("membership", "write_export"): 165,
}
# What takes long to load and is not needed at run time, or only inside the functions that need it.
HEAVY = {
    "asyncio", "boto3", "botocore.client", "botocore.session", "cryptography", "fastapi", "jwt", "linebot", "mangum",
    "moto", "multiprocessing", "pynamodb.connection", "pynamodb.models", "regex", "requests", "unittest", "yaml",
}  # fmt: skip


def trees(*folders):
    """Yield the Python files below the folders, each with its syntax tree."""
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def imported(tree):
    """Yield the names of the modules that a tree imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module


def called(tree):
    """Yield the last names of what a tree calls: `table.scan()` calls scan."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            yield function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def scans(tree):
    """Tell whether a tree reads whole tables, by PynamoDB's or boto3's method or by the action of the AWS API."""
    actions = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    return "scan" in called(tree) or "Scan" in actions


def strangers(tree, package, packages):
    """Return what a package of the layers imports although it must not know it: functions and other systems."""
    known = {package, "kernel"}
    tops = {name.partition(".")[0] for name in imported(tree)}
    return sorted(tops & ({*packages, "functions", "infra", "local", "tests"} - known))


def declared_in(module):
    """Return the names of the declarations that a module makes, not those it imports."""
    found = {name: value for name, value in vars(module).items() if isinstance(value, Declaration)}
    return sorted(name for name, value in found.items() if value.function.__module__ == module.__name__)


@pytest.mark.parametrize(("system", "name"), NAMES)
class TestFunction:
    def test_declares_itself_and_nothing_else(self, system, name):
        declarations(system)

        assert declared_in(sys.modules[f"functions.{system}.{name}"]) == [name]

    def test_is_short(self, system, name):
        lines = (FUNCTIONS / system / f"{name}.py").read_text(encoding="utf-8").count("\n")

        assert lines <= LINES_OF_A_FUNCTION

    def test_has_a_sample_event(self, system, name):
        event = json.loads((EVENTS / system / f"{name}.json").read_text(encoding="utf-8"))

        assert isinstance(event, dict)

    def test_is_imported_by_a_test_of_its_system(self, system, name):
        module = f"functions.{system}.{name}"

        assert any(module in imported(tree) for _, tree in trees(TESTS / "functions" / system))


def test_samples_belong_to_functions():
    assert sorted((path.parent.name, path.stem) for path in EVENTS.glob("*/*.json")) == sorted(NAMES)


@pytest.mark.parametrize("system", systems())
class TestSystem:
    def test_routes_are_unique(self, system):
        routes = [(operation.verb, operation.path) for operation in declarations(system).operations]

        assert sorted(set(routes)) == sorted(routes)

    def test_only_what_is_listed_is_public(self, system):
        found = {(system, operation.name) for operation in declarations(system).operations if public(operation)}

        assert found == {key for key in PUBLIC if key[0] == system}

    def test_its_package_knows_only_itself_and_the_kernel(self, system):
        for path, tree in trees(PACKAGES[system]):
            assert strangers(tree, system, PACKAGES) == [], path


def test_the_kernel_knows_no_system():
    for path, tree in trees(PACKAGES["kernel"]):
        assert strangers(tree, "kernel", PACKAGES) == [], path


def test_nothing_reads_whole_tables():
    assert [path for path, tree in trees(LAYERS, FUNCTIONS) if scans(tree)] == []


def test_tests_do_not_sleep():
    # Those that start processes and servers of their own have to wait for them.
    folders = [TESTS / name for name in ("contract", "functions", "infra", "layers")]

    assert [path for path, tree in trees(*folders) if "sleep" in called(tree)] == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import chatbot.tags", ["chatbot"]),
        ("from functions.chatbot.save_tag import save_tag", ["functions"]),
        ("def late():\n    from membership import cards", ["membership"]),
        ("import kernel.clock\nfrom kernel import aws\nimport citycode\nimport json", []),
        ("from . import tables", []),
    ],
)
def test_strangers_are_found(source, found):
    assert strangers(ast.parse(source), "citycode", ["kernel", "chatbot", "citycode", "membership"]) == found


@pytest.mark.parametrize(
    ("source", "found"),
    [("table.scan()", True), ("aws.call('dynamodb', 'Scan', {})", True), ("table.query()\nscanned = 'scan'", False)],
)
def test_scans_are_found(source, found):
    assert scans(ast.parse(source)) is found


def test_sleeps_are_found():
    assert [name for name in ("time.sleep(1)", "sleep(1)", "sleep = 1") if "sleep" in called(ast.parse(name))] == [
        "time.sleep(1)",
        "sleep(1)",
    ]


LOADER = '''
import importlib, json, os, sys

ours, names = tuple(sys.argv[1].split(os.pathsep)), sys.argv[2:]
noted = []


def from_here():
    """Tell whether code of the project is what asked, directly or through the standard library's mappings."""
    frame = sys._getframe(2)
    while frame.f_globals["__name__"] in ("os", "collections.abc"):
        frame = frame.f_back
    return frame.f_code.co_filename.startswith(ours)


def note(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen"):
        noted.append(event)


read = os._Environ.__getitem__


def noting(environ, name):
    if from_here():
        noted.append(f"environment {name}")
    return read(environ, name)


sys.addaudithook(note)
os._Environ.__getitem__ = noting
sys.dont_write_bytecode = True
# Every declaration loads this; the rest is loaded in a process each.
import kernel.jobs, kernel.operations

for name in names:
    child = os.fork()
    if child == 0:
        importlib.import_module(name)
        print(json.dumps({"name": name, "noted": noted, "modules": sorted(sys.modules)}), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
'''


def loaded(*names, ours=(LAYERS, FUNCTIONS)):
    """Return what importing each module does, in a new process without any environment: what it loads, what it asks."""
    # The interpreter finds the project's packages as Lambda does: by its path.
    places = [*ours, ROOT, *(package.parent for package in PACKAGES.values())]
    lines = subprocess.run(
        [sys.executable, "-c", LOADER, os.pathsep.join(map(str, ours)), *names],
        env={"PYTHONPATH": os.pathsep.join(map(str, places))},
        cwd=os.sep,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout.splitlines()
    return {found["name"]: found for found in map(json.loads, lines)}


@pytest.fixture(scope="module")
def imports():
    return loaded(*(f"functions.{system}.{name}" for system, name in NAMES))


def heavy(modules):
    """Return what of the list is loaded, by its own name."""
    return sorted(HEAVY & set(modules))


def beside_pythons_own(modules):
    """Return the modules whose number does not depend on the version of Python."""
    left_out = sys.stdlib_module_names | {"functions", "__main__", "_distutils_hack"}
    tops = {name: name.partition(".")[0] for name in modules}
    return [name for name, top in tops.items() if top not in left_out and not top.startswith("_sysconfigdata")]


@pytest.mark.parametrize(("system", "name"), NAMES)
class TestImport:
    def test_asks_nobody(self, imports, system, name):
        assert imports[f"functions.{system}.{name}"]["noted"] == []

    def test_loads_nothing_heavy_and_no_other_system(self, imports, system, name):
        modules = imports[f"functions.{system}.{name}"]["modules"]

        assert heavy(modules) == []
        others = {package for package in PACKAGES if package not in (system, "kernel")}
        assert others & set(modules) == set()

    def test_stays_within_its_budget(self, imports, system, name):
        count = len(beside_pythons_own(imports[f"functions.{system}.{name}"]["modules"]))

        # Much less than written means that the number here is out of date.
        assert MODULES[system, name] - 2 * SLACK <= count <= MODULES[system, name] + SLACK


def test_effects_of_an_import_are_found(tmp_path):
    sources = {
        "reads": "import os\nvalue = os.environ.get('STAGE', 'none')",
        "calls": "import socket\ntry:\n    socket.create_connection(('127.0.0.1', 9))\nexcept OSError:\n    pass",
        "loads": "import unittest",
        "plain": "import os\n\n\ndef later():\n    return os.environ['STAGE']",
    }
    for name, source in sources.items():
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")

    found = loaded(*sources, ours=[tmp_path])

    assert {name: what["noted"] for name, what in found.items()} == {
        "reads": ["environment STAGE"],
        "calls": ["socket.getaddrinfo", "socket.connect"],
        "loads": [],
        "plain": [],
    }
    assert heavy(found["loads"]["modules"]) == ["unittest"]
    assert heavy(found["plain"]["modules"]) == []


def test_the_budgets_name_every_function():
    assert set(MODULES) == set(NAMES)
