"""Build what Lambda runs: the vendor layer for the target runtime, our own layers, one folder a function."""

import fcntl
import functools
import hashlib
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
LAYERS = ROOT / "layers"
LOCK = ROOT / "locks" / "runtime.txt"

TARGET_RUNTIME = "python3.14"
TARGET_VERSION = TARGET_RUNTIME.removeprefix("python")
TARGET_ABI = "cp" + TARGET_VERSION.replace(".", "")
TARGET_MACHINE = "aarch64"
# The runtime sits on Amazon Linux 2023, whose glibc is 2.34; pip takes the newest it may, and does not count
# down by itself.
TARGET_PLATFORMS = (
    *(f"manylinux_2_{minor}_{TARGET_MACHINE}" for minor in range(34, 16, -1)),
    f"manylinux2014_{TARGET_MACHINE}",
)
TARGET_ENVIRONMENT = {
    "implementation_name": "cpython",
    "implementation_version": f"{TARGET_VERSION}.0",
    "os_name": "posix",
    "platform_machine": TARGET_MACHINE,
    "platform_python_implementation": "CPython",
    "platform_release": "",
    "platform_system": "Linux",
    "platform_version": "",
    "python_full_version": f"{TARGET_VERSION}.0",
    "python_version": TARGET_VERSION,
    "sys_platform": "linux",
    "extra": "",
}

VENDOR_LIMIT = 60_000_000

# The layer's botocore hides the runtime's own, so a boto3 client of a service works only when it stands here.
BOTOCORE_SERVICES: tuple[str, ...] = ()

# Pillow does without the extensions that are not there. Channels show PNG and JPEG, nobody draws text or changes
# colour profiles; what nobody needs is code that strangers' files could reach.
UNUSED_OF_PILLOW = (
    "PIL/_avif.*",
    "PIL/_imagingcms.*",
    "PIL/_imagingft.*",
    "PIL/_imagingtk.*",
    "PIL/_webp.*",
    "pillow.libs/libavif-*",
    "pillow.libs/libbrotli*-*",
    "pillow.libs/libfreetype-*",
    "pillow.libs/libharfbuzz-*",
    "pillow.libs/liblcms2-*",
    "pillow.libs/libpng16-*",
    "pillow.libs/libwebp*-*",
    "pillow.libs/libsharpyuv-*",
)

AMAZON_ROOTS = (
    "Amazon Root CA 1",
    "Amazon Root CA 2",
    "Amazon Root CA 3",
    "Amazon Root CA 4",
    "Starfield Services Root Certificate Authority - G2",
)

LAYER_MOUNT = "/opt/python"
FUNCTION_MOUNT = "/var/task"

# The first second a zip archive can name.
EPOCH = 315_532_800

NO_INTERPRETER = (
    f"vendor layer: no {TARGET_RUNTIME} on this machine, shipping without bytecode: "
    f"cold starts will be slower (measured 2.3×); install {TARGET_RUNTIME} and build again"
)


class BuildError(Exception):
    """A layer cannot be built; the message is one line for the person at the terminal."""


def build_vendor(lock: Path = LOCK, build: Path = BUILD) -> Path:
    """Build the layer of third-party packages from the lock file, unless it stands already."""
    interpreter = target_interpreter()
    if interpreter is None:
        print(NO_INTERPRETER, file=sys.stderr)

    def fill(layer: Path) -> None:
        python = layer / "python"
        _install(target_requirements(lock), python)
        _prune(python)
        _check_complete(python)
        roots = amazon_roots((python / "botocore" / "cacert.pem").read_text())
        (python / "amazon-roots.pem").write_text(roots)
        if interpreter:
            compile_tree(python, interpreter)
        if (size := unzipped_size(layer)) >= VENDOR_LIMIT:
            raise BuildError(f"vendor layer: {size / 1e6:.1f} MB unzipped, the limit is {VENDOR_LIMIT / 1e6:.0f} MB")

    return _stage(build / "layers" / "vendor", _digest(interpreter, [("lock", lock.read_bytes())]), fill)


def stage_layer(name: str, layers: Path = LAYERS, build: Path = BUILD) -> Path:
    """Copy one of our own layers to where CDK picks it up, with bytecode."""
    source = layers / name / "python"
    if not source.is_dir():
        raise BuildError(f"layer {name}: there is no folder layers/{name}/python")
    files = {path.relative_to(source).as_posix(): path.read_bytes() for path in _sources(source)}
    interpreter = target_interpreter()

    def fill(layer: Path) -> None:
        (layer / "python").mkdir(parents=True)
        _write(files, layer / "python")
        if interpreter:
            compile_tree(layer / "python", interpreter)

    return _stage(build / "layers" / name, _digest(interpreter, files.items()), fill)


def stage_function(path: Path, build: Path = BUILD) -> Path:
    """Copy one operation's file into a folder of its own, with bytecode."""
    if not path.is_file():
        raise BuildError(f"function {path.parent.name}/{path.stem}: there is no file {path.name}")
    files = {path.name: path.read_bytes()}
    interpreter = target_interpreter()

    def fill(folder: Path) -> None:
        folder.mkdir()
        _write(files, folder)
        if interpreter:
            compile_tree(folder, interpreter, FUNCTION_MOUNT)

    target = build / "functions" / path.parent.name / path.stem
    return _stage(target, _digest(interpreter, files.items()), fill)


def compile_tree(folder: Path, interpreter: Path, mount: str = LAYER_MOUNT) -> None:
    """Replace all bytecode under a folder by the interpreter's own, which Lambda loads without checking."""
    for cache in list(folder.rglob("__pycache__")):
        shutil.rmtree(cache)
    # A fixed hash seed and file names as Lambda will see them keep the bytecode the same on every machine.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [str(interpreter), "-s", "-S", "-m", "compileall", "-q"]
    command += ["--invalidation-mode", "unchecked-hash", "-s", str(folder), "-p", mount, str(folder)]
    compiled = subprocess.run(
        command,
        env=environment | {"PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    if compiled.returncode:
        said = " ".join((compiled.stdout + compiled.stderr).split())
        raise BuildError(f"{folder.parent.name}: not compiled: {said}")


def target_interpreter() -> Path | None:
    """Find an interpreter of the target's version on this machine."""
    return _interpreter(os.environ.get("PATH", ""), os.environ.get("PYENV_ROOT", "~/.pyenv"))


def target_requirements(lock: Path) -> dict[str, tuple[str, ...]]:
    """Read the pins that hold for the target, each with its hashes, out of a universal lock file."""
    pins: dict[str, tuple[str, ...]] = {}
    text = re.sub(r"^\s*#.*\n?", "", lock.read_text(), flags=re.MULTILINE)
    for line in filter(None, map(str.strip, text.replace("\\\n", " ").splitlines())):
        head, *hashes = line.split("--hash=")
        try:
            requirement = Requirement(head)
        except InvalidRequirement:
            raise BuildError(f"vendor layer: {lock.name} has a line that is no pin: {head.strip()}") from None
        if canonicalize_name(requirement.name) == "boto3":
            raise BuildError(f"vendor layer: {lock.name} names boto3, which the Lambda runtime brings itself")
        if requirement.marker is None or requirement.marker.evaluate(TARGET_ENVIRONMENT):
            pins[f"{requirement.name}{requirement.specifier}"] = tuple(map(str.strip, hashes))
    return pins


def amazon_roots(bundle: str) -> str:
    """Pick the roots that sign *.amazonaws.com out of a bundle of certificates."""
    found: dict[str, str] = {}
    for block in re.findall(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n", bundle, re.DOTALL):
        # OpenSSL, because the cryptography package is about to refuse Starfield's serial number 0.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=block)
        for certificate in context.get_ca_certs():
            subject = list(certificate["subject"])
            found |= {name: block for name in AMAZON_ROOTS if (("commonName", name),) in subject}
    if missing := [name for name in AMAZON_ROOTS if name not in found]:
        raise BuildError(f"vendor layer: botocore's certificates lack {', '.join(missing)}")
    return "".join(found[name] for name in AMAZON_ROOTS)


def unzipped_size(folder: Path) -> int:
    """Add up the bytes of all files under a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> int:
    """Build the vendor layer and our own layers, and print how large they are."""
    try:
        built = [build_vendor()]
        built += [stage_layer(source.parent.name) for source in sorted(LAYERS.glob("*/python"))]
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    for layer in built:
        print(f"{layer.name:<12} {unzipped_size(layer) / 1e6:6.2f} MB unzipped")
    return 0


def _stage(target: Path, digest: str, fill: Callable[[Path], None]) -> Path:
    stamp = target.with_name(f"{target.name}.stamp")
    target.parent.mkdir(parents=True, exist_ok=True)
    # Test workers and a synth may want the same folder at the same time.
    with (target.parent / ".lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if target.is_dir() and stamp.is_file() and stamp.read_text() == digest:
            return target
        stamp.unlink(missing_ok=True)
        if target.exists():
            shutil.rmtree(target)
        fill(target)
        for path in [target, *target.rglob("*")]:
            # Lambda's user is not the one who built: a strict umask would lock it out.
            path.chmod(0o755 if path.is_dir() else 0o644)
            os.utime(path, (EPOCH, EPOCH))
        stamp.write_text(digest)
    return target


def _digest(interpreter: Path | None, contents: Iterable[tuple[str, bytes]]) -> str:
    total = hashlib.sha256(Path(__file__).read_bytes())
    total.update(f"\0{interpreter}".encode())
    for name, content in sorted(contents):
        total.update(f"\0{name}\0{len(content)}\0".encode() + content)
    return total.hexdigest()


def _sources(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        hidden = any(part == "__pycache__" or part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden:
            yield path


def _write(files: dict[str, bytes], folder: Path) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def _install(pins: dict[str, tuple[str, ...]], folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--no-compile", "--no-deps"]
    command += ["--disable-pip-version-check", "--require-hashes", "--only-binary=:all:"]
    command += ["--implementation", "cp", "--python-version", TARGET_VERSION]
    command += [word for abi in (TARGET_ABI, "abi3", "none") for word in ("--abi", abi)]
    command += [word for platform in TARGET_PLATFORMS for word in ("--platform", platform)]
    with tempfile.TemporaryDirectory() as scratch:
        # pip would weigh the lock's markers for the interpreter it runs on, so it gets the pins without them.
        wanted = Path(scratch) / "requirements.txt"
        wanted.write_text(
            "".join(" ".join([pin, *(f"--hash={digest}" for digest in hashes)]) + "\n" for pin, hashes in pins.items())
        )
        pip = subprocess.run([*command, "--target", folder, "-r", wanted], capture_output=True, text=True, check=False)
    if pip.returncode:
        raise BuildError(f"vendor layer: {_reason(pip.stdout + pip.stderr)}")


def _reason(said: str) -> str:
    if "connection broken by" in said:
        return "pip cannot reach its package index; connect, or point pip at a mirror, and build again"
    if missing := re.search(r"No matching distribution found for (\S+)", said):
        return f"{missing[1]} has no wheel for {TARGET_RUNTIME} on {TARGET_MACHINE} Linux"
    if altered := re.search(r"DO NOT MATCH THE HASHES.*\n\s*(\S+) from", said):
        return f"{altered[1]} as downloaded does not match the lock file's hashes"
    return f"pip failed: {(said.strip().splitlines() or ['it said nothing'])[-1]}"


def _prune(python: Path) -> None:
    shutil.rmtree(python / "bin", ignore_errors=True)
    for path in python.glob("*.dist-info/*"):
        # importlib.metadata reads the version from one and plugins (pydantic looks for some) from the other.
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in {"METADATA", "entry_points.txt"}:
            path.unlink()
    for name in ("test", "tests"):
        for folder in list(python.rglob(f"{name}/")):
            shutil.rmtree(folder, ignore_errors=True)
    for pattern in ("*.pyi", "*.debug", "test_*.py"):
        for path in python.rglob(pattern):
            path.unlink()
    for pattern in UNUSED_OF_PILLOW:
        for path in python.glob(pattern):
            path.unlink()
    for service in (python / "botocore" / "data").iterdir():
        if service.is_dir() and service.name not in BOTOCORE_SERVICES:
            shutil.rmtree(service)


def _check_complete(python: Path) -> None:
    installed = list(distributions(path=[str(python)]))
    versions = {canonicalize_name(package.name): package.version for package in installed}
    for package in installed:
        for need in map(Requirement, package.requires or ()):
            if need.marker and not need.marker.evaluate(TARGET_ENVIRONMENT):
                continue
            version = versions.get(canonicalize_name(need.name))
            if version is None or not need.specifier.contains(version, prereleases=True):
                raise BuildError(f"vendor layer: {package.name} needs {need}, the lock file has {version}")


@functools.cache
def _interpreter(search_path: str, pyenv_root: str) -> Path | None:
    built = Path(pyenv_root).expanduser().glob(f"versions/{TARGET_VERSION}*/bin/{TARGET_RUNTIME}")
    # A version manager leaves a launcher on the path even where no such version is behind it; and bytecode of
    # an alpha or beta is not the release's.
    question = "import sys; v = sys.version_info; print(v[0], v[1], v[3], sys.executable, sep='\\n')"
    expected = [*TARGET_VERSION.split("."), "final"]
    candidates = [shutil.which(TARGET_RUNTIME, path=search_path), *map(str, sorted(built))]
    for candidate in filter(None, candidates):
        try:
            asked = subprocess.run([candidate, "-c", question], capture_output=True, text=True, check=False, timeout=30)
        except (OSError, subprocess.TimeoutExpired):
            continue
        *version, executable = asked.stdout.splitlines() or [""]
        if version == expected:
            return Path(executable)
    return None


if __name__ == "__main__":
    sys.exit(main())
