import hashlib
import importlib.util
import os
import re
import ssl
import subprocess
import sys
import zipfile
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from infra import layer_build
from infra.layer_build import (
    AMAZON_ROOTS,
    BOTOCORE_SERVICES,
    LOCK,
    NO_INTERPRETER,
    VENDOR_LIMIT,
    BuildError,
    amazon_roots,
    build_vendor,
    compile_tree,
    main,
    stage_function,
    stage_layer,
    target_interpreter,
    target_requirements,
    unzipped_size,
)

AARCH64 = 183
UNCHECKED_HASH = 1
HERE = Path(sys.executable)
TAG = sys.implementation.cache_tag


@pytest.fixture(scope="module")
def vendor() -> Path:
    return build_vendor()


@pytest.fixture(scope="module")
def bundle(vendor: Path) -> str:
    return (vendor / "python" / "botocore" / "cacert.pem").read_text()


@pytest.fixture
def no_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "nowhere"))


@pytest.fixture
def interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_interpreter: None) -> None:
    """A machine on which this interpreter passes for the target's."""
    answering(tmp_path / "on-path" / "python3.14", f"printf '3\\n14\\nfinal\\n{sys.executable}\\n'")
    monkeypatch.setenv("PATH", str(tmp_path / "on-path"))


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_interpreter: None) -> Path:
    """A folder that is all that pip can see."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def answering(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def wheel(
    folder: Path, name: str, files: dict[str, str], tag: str = "py3-none-any", needs: tuple[str, ...] = ()
) -> str:
    """Put a wheel into a folder and give its pin."""
    info = f"{name}-1.0.dist-info"
    requires = "".join(f"Requires-Dist: {need}\n" for need in needs)
    entries = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{requires}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
        f"{info}/entry_points.txt": "[console_scripts]\nplaything = botocore:run\n",
        f"{info}/licenses/LICENSE": "free",
    }
    path = folder / f"{name}-1.0-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, text in entries.items():
            archive.writestr(entry, text)
        archive.writestr(f"{info}/RECORD", "".join(f"{entry},,\n" for entry in [*entries, f"{info}/RECORD"]))
    return f"{name}==1.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def botocore_wheel(folder: Path, bundle: str, **more: str) -> str:
    files = {"botocore/__init__.py": "", "botocore/cacert.pem": bundle, "botocore/data/endpoints.json": "{}"}
    return wheel(folder, "botocore", {**files, **more})


def lock_of(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "runtime.txt"
    path.write_text(text)
    return path


def tree(folder: Path) -> dict[str, tuple[str, float, int]]:
    """Everything of a folder that could end up in an archive of it."""
    return {
        path.relative_to(folder).as_posix(): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
            path.stat().st_mtime,
            path.stat().st_mode,
        )
        for path in sorted(folder.rglob("*"))
    }


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def isolated(folder: Path, program: str) -> str:
    """Run a program that sees the standard library and one folder, and writes nothing there."""
    program = f"import sys; sys.path.insert(0, {str(folder)!r}); {program}"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class TestVendorLayer:
    def test_stays_below_its_limit(self, vendor: Path) -> None:
        assert 10_000_000 < unzipped_size(vendor) < VENDOR_LIMIT

    def test_holds_the_locks_packages_and_no_other(self, vendor: Path) -> None:
        held = {
            f"{canonicalize_name(package.name)}=={package.version}"
            for package in distributions(path=[str(vendor / "python")])
        }
        assert held == set(target_requirements(LOCK))
        assert {pin.partition("==")[0] for pin in held} >= {
            "aws-lambda-powertools",
            "botocore",
            "cffi",
            "cryptography",
            "pillow",
            "pydantic",
            "pydantic-core",
            "pyjwt",
            "pynamodb",
            "python-multipart",
            "qrcode",
            "xlsxwriter",
        }

    def test_leaves_to_the_runtime_what_it_brings(self, vendor: Path) -> None:
        top = {path.name.partition("-")[0] for path in (vendor / "python").iterdir()}
        assert top.isdisjoint({"boto3", "s3transfer", "pip", "bin"})

    def test_native_code_is_the_targets(self, vendor: Path) -> None:
        libraries = [path for path in vendor.rglob("*") if ".so" in path.suffixes]
        assert len(libraries) >= 3
        for library in libraries:
            header = library.read_bytes()[:20]
            assert header[:4] == b"\x7fELF", library
            assert int.from_bytes(header[18:20], "little") == AARCH64, library
            if library.parent.name != "pillow.libs":
                assert library.name.endswith((".cpython-314-aarch64-linux-gnu.so", ".abi3.so")), library

    def test_pictures_are_read_and_written_without_what_nobody_sends(self, vendor: Path) -> None:
        python = vendor / "python"
        extensions = {path.name.partition(".")[0] for path in (python / "PIL").glob("*.so")}
        assert "_imaging" in extensions
        assert extensions.isdisjoint({"_avif", "_webp", "_imagingcms", "_imagingft", "_imagingtk"})
        # A library is named by its own file and by those that need it.
        libraries = {path.name for path in (python / "pillow.libs").iterdir()}
        assert any(name.startswith("libjpeg-") for name in libraries)
        needed = {
            name.decode()
            for folder in ("PIL", "pillow.libs")
            for path in (python / folder).glob("*.so*")
            for name in re.findall(rb"\x00(lib\w+-[0-9a-f]{8}\.so[.0-9]*)(?=\x00)", path.read_bytes())
        }
        assert needed == libraries

    def test_keeps_only_the_botocore_data_that_is_used(self, vendor: Path) -> None:
        data = vendor / "python" / "botocore" / "data"
        assert {path.name for path in data.iterdir() if path.is_dir()} == set(BOTOCORE_SERVICES)
        assert {path.name for path in data.iterdir() if path.is_file()} == {
            "_retry.json",
            "endpoints.json",
            "partitions.json",
            "sdk-default-configuration.json",
        }

    def test_carries_nothing_that_only_developers_read(self, vendor: Path) -> None:
        for path in vendor.rglob("*"):
            assert path.name not in {"test", "tests", "RECORD", "WHEEL", "INSTALLER"}, path
            assert path.suffix not in {".pyi", ".debug"}, path
            assert not path.name.startswith("test_"), path

    def test_bytecode_is_the_targets_or_absent(self, vendor: Path) -> None:
        bytecode = list(vendor.rglob("*.pyc"))
        assert bool(bytecode) == bool(target_interpreter())
        assert all(path.name.endswith(".cpython-314.pyc") for path in bytecode)

    def test_has_one_full_bundle_of_certificates_and_the_five_amazon_roots(self, vendor: Path) -> None:
        assert {path.relative_to(vendor).as_posix() for path in vendor.rglob("*.pem")} == {
            "python/botocore/cacert.pem",
            "python/amazon-roots.pem",
        }
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cafile=vendor / "python" / "amazon-roots.pem")
        subjects = [list(certificate["subject"]) for certificate in context.get_ca_certs()]
        assert len(subjects) == len(AMAZON_ROOTS) == 5
        for name in AMAZON_ROOTS:
            assert sum((("commonName", name),) in subject for subject in subjects) == 1, name

    def test_pynamodb_models_import_with_the_trimmed_botocore(self, vendor: Path) -> None:
        program = (
            "import botocore.auth, botocore.credentials, botocore.session, pynamodb.models; "
            "botocore.session.Session().get_config_variable('region'); "
            "print(botocore.__file__, pynamodb.__file__, sep='\\n')"
        )
        assert isolated(vendor / "python", program).splitlines() == [
            str(vendor / "python" / "botocore" / "__init__.py"),
            str(vendor / "python" / "pynamodb" / "__init__.py"),
        ]

    def test_is_the_same_on_every_machine_and_says_when_bytecode_is_missing(
        self,
        vendor: Path,
        tmp_path: Path,
        no_interpreter: None,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        again = build_vendor(build=tmp_path)
        assert again == tmp_path / "layers" / "vendor"
        assert tree(again) == {name: facts for name, facts in tree(vendor).items() if "__pycache__" not in name}
        assert capsys.readouterr().err == (
            "vendor layer: no python3.14 on this machine, shipping without bytecode: cold starts will be "
            "slower (measured 2.3×); install python3.14 and build again\n"
        )


class TestBuilding:
    def test_prunes_and_keeps(self, tmp_path: Path, wheels: Path, bundle: str) -> None:
        extra = {
            "botocore/stubs.pyi": "",
            "botocore/tests/__init__.py": "",
            "botocore/inner/tests/tests/test_it.py": "",
            "botocore/inner/test_cases.py": "",
            "botocore/inner/contest.py": "",
            "botocore/data/sqs/2012-11-05/service-2.json.gz": "",
            "PIL/_avif.cpython-314-aarch64-linux-gnu.so": "",
            "PIL/_imaging.cpython-314-aarch64-linux-gnu.so": "",
            "PIL/AvifImagePlugin.py": "",
            "pillow.libs/libavif-ba04b566.so.16.4.2": "",
            "pillow.libs/libwebpmux-fec2c160.so.3.1.2": "",
            "pillow.libs/libjpeg-80045241.so.62.4.0": "",
        }
        layer = build_vendor(lock_of(tmp_path, botocore_wheel(wheels, bundle, **extra)), tmp_path / "build")
        assert names(layer / "python") == {
            "PIL/_imaging.cpython-314-aarch64-linux-gnu.so",
            "PIL/AvifImagePlugin.py",
            "pillow.libs/libjpeg-80045241.so.62.4.0",
            "amazon-roots.pem",
            "botocore/__init__.py",
            "botocore/cacert.pem",
            "botocore/data/endpoints.json",
            "botocore/inner/contest.py",
            "botocore-1.0.dist-info/METADATA",
            "botocore-1.0.dist-info/entry_points.txt",
        }

    def test_builds_again_only_when_something_changed(self, tmp_path: Path, wheels: Path, bundle: str) -> None:
        lock = lock_of(tmp_path, botocore_wheel(wheels, bundle))
        layer = build_vendor(lock, tmp_path / "build")
        (wheels / "botocore-1.0-py3-none-any.whl").unlink()
        assert build_vendor(lock, tmp_path / "build") == layer

        lock.write_text(lock.read_text() + "# changed\n")
        with pytest.raises(BuildError, match=r"botocore==1\.0 has no wheel"):
            build_vendor(lock, tmp_path / "build")

    def test_builds_again_when_it_failed_half_way(self, tmp_path: Path, wheels: Path, bundle: str) -> None:
        pin = botocore_wheel(wheels, bundle)
        (tmp_path / "build" / "layers" / "vendor" / "leftover").mkdir(parents=True)
        layer = build_vendor(lock_of(tmp_path, pin), tmp_path / "build")
        assert {path.name for path in layer.iterdir()} == {"python"}

    def test_builds_again_with_bytecode_once_there_is_an_interpreter(
        self,
        tmp_path: Path,
        wheels: Path,
        bundle: str,
        request: pytest.FixtureRequest,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        lock = lock_of(tmp_path, botocore_wheel(wheels, bundle))
        layer = build_vendor(lock, tmp_path / "build")
        assert list(layer.rglob("*.pyc")) == []
        assert capsys.readouterr().err == f"{NO_INTERPRETER}\n"

        request.getfixturevalue("interpreter")
        build_vendor(lock, tmp_path / "build")
        assert [path.name for path in layer.rglob("*.pyc")] == [f"__init__.{TAG}.pyc"]
        assert capsys.readouterr().err == ""

    def test_can_be_read_by_another_user(self, tmp_path: Path, wheels: Path, bundle: str) -> None:
        pin = botocore_wheel(wheels, bundle)
        usual = os.umask(0o077)
        try:
            layer = build_vendor(lock_of(tmp_path, pin), tmp_path / "build")
        finally:
            os.umask(usual)
        assert {path.stat().st_mode & 0o777 for path in layer.rglob("*") if path.is_file()} == {0o644}
        assert {path.stat().st_mode & 0o777 for path in layer.rglob("*") if path.is_dir()} == {0o755}

    def test_refuses_a_layer_above_the_limit(self, tmp_path: Path, wheels: Path, bundle: str) -> None:
        pin = botocore_wheel(wheels, bundle, **{"botocore/data/large.json": " " * VENDOR_LIMIT})
        with pytest.raises(BuildError, match=r"^vendor layer: 60\.\d MB unzipped, the limit is 60 MB$"):
            build_vendor(lock_of(tmp_path, pin), tmp_path / "build")

    def test_refuses_a_bundle_without_the_amazon_roots(self, tmp_path: Path, wheels: Path) -> None:
        with pytest.raises(BuildError, match="certificates lack Amazon Root CA 1, Amazon Root CA 2, "):
            build_vendor(lock_of(tmp_path, botocore_wheel(wheels, "")), tmp_path / "build")

    def test_refuses_a_lock_that_misses_what_the_target_needs(self, tmp_path: Path, wheels: Path, bundle: str) -> None:
        needs = ("absent>=2; python_version >= '3.14'", "elsewhere; sys_platform == 'win32'")
        pins = botocore_wheel(wheels, bundle) + wheel(wheels, "thing", {"thing.py": ""}, needs=needs)
        with pytest.raises(BuildError, match=r"thing needs absent>=2.*, the lock file has None$"):
            build_vendor(lock_of(tmp_path, pins), tmp_path / "build")

    def test_names_the_package_without_a_wheel_for_the_target(self, tmp_path: Path, wheels: Path) -> None:
        pin = wheel(wheels, "thing", {"thing.py": ""}, tag="cp314-cp314-manylinux_2_28_x86_64")
        with pytest.raises(
            BuildError, match=r"^vendor layer: thing==1\.0 has no wheel for python3\.14 on aarch64 Linux$"
        ):
            build_vendor(lock_of(tmp_path, pin), tmp_path / "build")

    def test_names_the_package_that_is_not_what_was_locked(self, tmp_path: Path, wheels: Path) -> None:
        pin = wheel(wheels, "thing", {"thing.py": ""})
        wheel(wheels, "thing", {"thing.py": "altered = True"})
        with pytest.raises(
            BuildError, match=r"^vendor layer: thing==1\.0 as downloaded does not match the lock file's hashes$"
        ):
            build_vendor(lock_of(tmp_path, pin), tmp_path / "build")

    def test_says_when_the_index_is_out_of_reach(
        self, tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pin = wheel(wheels, "thing", {"thing.py": ""})
        monkeypatch.delenv("PIP_NO_INDEX")
        for name, value in {
            "PIP_FIND_LINKS": "",
            "PIP_EXTRA_INDEX_URL": "",
            "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
            "PIP_RETRIES": "1",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(BuildError, match=r"^vendor layer: pip cannot reach its package index"):
            build_vendor(lock_of(tmp_path, pin), tmp_path / "build")

    def test_passes_on_any_other_complaint_of_pip(self, tmp_path: Path, wheels: Path) -> None:
        (wheels / "thing-1.0-py3-none-any.whl").write_text("no archive")
        digest = hashlib.sha256(b"no archive").hexdigest()
        lock = lock_of(tmp_path, f"thing==1.0 --hash=sha256:{digest}\n")
        with pytest.raises(BuildError, match=r"^vendor layer: pip failed: .+$"):
            build_vendor(lock, tmp_path / "build")

    def test_the_command_prints_sizes(self, vendor: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main() == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == f"vendor       {unzipped_size(vendor) / 1e6:6.2f} MB unzipped"
        assert any(line.startswith("kernel ") for line in lines)

    def test_the_command_prints_one_line_on_failure(
        self,
        vendor: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        (tmp_path / "odd" / "python").mkdir(parents=True)
        monkeypatch.setattr(layer_build, "LAYERS", tmp_path)
        assert main() == 1
        printed = capsys.readouterr()
        assert printed.err.splitlines()[-1] == "layer odd: there is no folder layers/odd/python"
        assert printed.out == ""


class TestLock:
    def test_keeps_what_holds_for_the_target(self, tmp_path: Path) -> None:
        lock = lock_of(
            tmp_path,
            "# written by a tool\n"
            "always==1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n    # via nothing\n"
            "here==2.0 ; platform_machine == 'aarch64' and sys_platform == 'linux' \\\n    --hash=sha256:cc\n"
            "elsewhere==3.0 ; sys_platform == 'win32' \\\n    --hash=sha256:dd\n"
            "older==4.0 ; python_full_version < '3.14' \\\n    --hash=sha256:ee\n",
        )
        assert target_requirements(lock) == {
            "always==1.0": ("sha256:aa", "sha256:bb"),
            "here==2.0": ("sha256:cc",),
        }

    def test_refuses_boto3(self, tmp_path: Path) -> None:
        with pytest.raises(BuildError, match="names boto3, which the Lambda runtime brings itself"):
            target_requirements(lock_of(tmp_path, "Boto3==1.0 --hash=sha256:aa\n"))

    def test_refuses_what_is_no_pin(self, tmp_path: Path) -> None:
        with pytest.raises(BuildError, match=r"runtime\.txt has a line that is no pin: --pre$"):
            target_requirements(lock_of(tmp_path, "--pre\n"))


class TestBytecode:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "python"
        (folder / "thing" / "__pycache__").mkdir(parents=True)
        (folder / "thing" / "__pycache__" / "gone.cpython-27.pyc").write_text("stale")
        (folder / "thing" / "__init__.py").write_text("def here() -> str:\n    return 'old'\n")
        return folder

    def test_is_never_checked_against_its_source(self, folder: Path) -> None:
        compile_tree(folder, HERE)
        bytecode = folder / "thing" / "__pycache__" / f"__init__.{TAG}.pyc"
        assert list(folder.rglob("*.pyc")) == [bytecode]
        header = bytecode.read_bytes()[:16]
        assert header[:4] == importlib.util.MAGIC_NUMBER
        assert int.from_bytes(header[4:8], "little") == UNCHECKED_HASH

        (folder / "thing" / "__init__.py").write_text("def here() -> str:\n    return 'newer'\n")
        assert isolated(folder, "import thing; print(thing.here())") == "old"

    def test_names_files_as_the_function_will_see_them(self, folder: Path) -> None:
        compile_tree(folder, HERE)
        bytecode = folder / "thing" / "__pycache__" / f"__init__.{TAG}.pyc"
        assert b"/opt/python/thing/__init__.py" in bytecode.read_bytes()
        assert str(folder).encode() not in bytecode.read_bytes()

    def test_is_the_same_each_time(self, vendor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        builds = []
        for seed in ("1", "2"):
            monkeypatch.setenv("PYTHONHASHSEED", seed)
            folder = tmp_path / seed / "python"
            for package in ("pydantic", "jwt", "pynamodb"):
                for source in (vendor / "python" / package).rglob("*.py"):
                    copy = folder / source.relative_to(vendor / "python")
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    copy.write_bytes(source.read_bytes())
            compile_tree(folder, HERE)
            builds.append({name: facts[0] for name, facts in tree(folder).items()})
        assert len(builds[0]) > 200
        assert builds[0] == builds[1]

    def test_is_not_made_of_a_broken_source(self, folder: Path) -> None:
        (folder / "thing" / "broken.py").write_text("def")
        with pytest.raises(BuildError, match=r"not compiled: .*broken\.py.*SyntaxError"):
            compile_tree(folder, HERE)


class TestInterpreter:
    def test_may_be_missing(self, no_interpreter: None) -> None:
        assert target_interpreter() is None

    def test_is_taken_from_the_path(self, interpreter: None) -> None:
        assert target_interpreter() == HERE

    @pytest.mark.parametrize(
        "script",
        [
            "echo no such version >&2; exit 127",
            "exit 0",
            f"printf '3\\n13\\nfinal\\n{HERE}\\n'",
            f"printf '3\\n14\\nbeta\\n{HERE}\\n'",
        ],
    )
    def test_must_be_what_its_name_says(
        self, script: str, tmp_path: Path, no_interpreter: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answering(tmp_path / "shims" / "python3.14", script)
        monkeypatch.setenv("PATH", str(tmp_path / "shims"))
        assert target_interpreter() is None

        found = tmp_path / "pyenv" / "versions" / "3.14.2" / "bin" / "python3.14"
        answering(found, f"printf '3\\n14\\nfinal\\n{found}\\n'")
        monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
        assert target_interpreter() == found


class TestStaging:
    @pytest.fixture
    def layers(self, tmp_path: Path) -> Path:
        package = tmp_path / "layers" / "thing" / "python" / "thing"
        (package / "__pycache__").mkdir(parents=True)
        (package / "__pycache__" / "rules.cpython-27.pyc").write_text("stale")
        (package / "rules.py").write_text("COLOURS = frozenset({'red', 'green', 'blue'})\n")
        (package / "words.json").write_text("{}")
        (package / ".hidden").write_text("")
        return tmp_path / "layers"

    @pytest.fixture
    def function(self, tmp_path: Path) -> Path:
        folder = tmp_path / "functions" / "chatbot"
        folder.mkdir(parents=True)
        (folder / "delete_tag.py").write_text("")
        (folder / "save_tag.py").write_text("def save_tag() -> None:\n    ...\n")
        return folder / "save_tag.py"

    def test_a_layer_holds_sources_and_bytecode(self, layers: Path, tmp_path: Path, interpreter: None) -> None:
        layer = stage_layer("thing", layers, tmp_path / "build")
        assert layer == tmp_path / "build" / "layers" / "thing"
        assert names(layer) == {
            "python/thing/rules.py",
            "python/thing/words.json",
            f"python/thing/__pycache__/rules.{TAG}.pyc",
        }

    def test_a_layer_without_interpreter_holds_sources_only(
        self, layers: Path, tmp_path: Path, no_interpreter: None
    ) -> None:
        layer = stage_layer("thing", layers, tmp_path / "build")
        assert names(layer) == {"python/thing/rules.py", "python/thing/words.json"}

    def test_a_layer_changes_with_its_content_only(self, layers: Path, tmp_path: Path, interpreter: None) -> None:
        first = tree(stage_layer("thing", layers, tmp_path / "one"))
        os.utime(layers / "thing" / "python" / "thing" / "rules.py", (1e9, 1e9))
        assert tree(stage_layer("thing", layers, tmp_path / "two")) == first

        (layers / "thing" / "python" / "thing" / "rules.py").write_text("COLOURS = frozenset()\n")
        second = tree(stage_layer("thing", layers, tmp_path / "one"))
        assert {name for name in first if second[name] != first[name]} == {
            "python/thing/rules.py",
            f"python/thing/__pycache__/rules.{TAG}.pyc",
        }

    def test_a_file_that_went_leaves_the_layer(self, layers: Path, tmp_path: Path, no_interpreter: None) -> None:
        stage_layer("thing", layers, tmp_path / "build")
        (layers / "thing" / "python" / "thing" / "words.json").unlink()
        assert names(stage_layer("thing", layers, tmp_path / "build")) == {"python/thing/rules.py"}

    def test_a_layer_must_exist(self, layers: Path, tmp_path: Path) -> None:
        with pytest.raises(BuildError, match=r"^layer other: there is no folder layers/other/python$"):
            stage_layer("other", layers, tmp_path / "build")

    def test_a_function_holds_exactly_its_module(self, function: Path, tmp_path: Path, interpreter: None) -> None:
        folder = stage_function(function, tmp_path / "build")
        assert folder == tmp_path / "build" / "functions" / "chatbot" / "save_tag"
        assert names(folder) == {"save_tag.py", f"__pycache__/save_tag.{TAG}.pyc"}
        assert b"/var/task/save_tag.py" in (folder / "__pycache__" / f"save_tag.{TAG}.pyc").read_bytes()
        assert isolated(folder, "import save_tag; print(save_tag.__name__)") == "save_tag"

    def test_a_function_is_the_same_each_time(self, function: Path, tmp_path: Path, interpreter: None) -> None:
        first = stage_function(function, tmp_path / "one")
        os.utime(function, (1e9, 1e9))
        assert tree(stage_function(function, tmp_path / "two")) == tree(first)

    def test_a_function_without_interpreter_is_its_source(
        self, function: Path, tmp_path: Path, no_interpreter: None
    ) -> None:
        assert names(stage_function(function, tmp_path / "build")) == {"save_tag.py"}

    def test_a_function_must_exist(self, tmp_path: Path) -> None:
        with pytest.raises(BuildError, match=r"^function chatbot/gone: there is no file gone\.py$"):
            stage_function(tmp_path / "chatbot" / "gone.py", tmp_path / "build")


def test_amazon_roots_are_found_wherever_they_stand(bundle: str) -> None:
    roots = amazon_roots(bundle)
    assert roots.count("BEGIN CERTIFICATE") == len(AMAZON_ROOTS)
    assert amazon_roots(f"junk\n{roots}") == roots
