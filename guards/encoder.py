"""Sentences as vectors: the encoders, the one-time export to ONNX, and the thread that runs them.

No module here imports torch where it serves: `export_encoder` alone does, in a child process of its own.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from guards import exports
from guards.base import EncoderUnavailable
from guards.exports import DEFAULT_MODEL
from policies.text import fold

# Read when it is imported: without it, the runtime keeps an id of the device and reports to its maker.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime

log = logging.getLogger("lethe")

Vectors = NDArray[np.float32]

_LEAST_COSINE = 0.999
_TOGETHER = 64
"""Texts of one length that are run at once where nobody waits."""
_PROBES = (
    "Good morning.",
    "Where can I read about the history of wooden boats?",
    "The ferry leaves at half past six, and whoever misses it has to spend the night on the island.",
    "Ünïcode, ÇAPITALS, digits 123-456 and an emoji 🙂 in one line",
)


class Encoder(Protocol):
    """Turns texts into vectors; synchronous, and the same text always gives the same vector."""

    name: str
    """Changes whenever the vectors do; caches are keyed by it."""
    dim: int

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return [texts, dim] float32, rows of unit length."""
        ...


class HashingEncoder:
    """A bag of folded words hashed into signed places: deterministic, no model, knows no synonyms.

    For tests and for working without an encoder.
    """

    def __init__(self, dim: int = 256) -> None:
        self.name = f"hashing-{dim}"
        self.dim = dim

    def encode(self, texts: Sequence[str]) -> Vectors:
        rows = np.zeros((len(texts), self.dim), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in fold(text).text.split():
                drawn = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big")
                row[(drawn >> 1) % self.dim] += 1.0 if drawn & 1 else -1.0
            if not row.any():
                row[0] = 1.0
        unit: Vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return unit


class OnnxEncoder:
    """An exported sentence-transformers model on ONNX Runtime, one thread; pooling and norm are in the graph.

    Texts are run one by one, without padding, so that a vector never depends on what else is waiting.
    A text of more tokens than the model takes is read in overlapping windows whose vectors are averaged:
    nothing of it is cut off unread.  Thread-safe.
    """

    def __init__(self, folder: Path) -> None:
        about = json.loads((folder / exports.ABOUT).read_text(encoding="utf-8"))
        exports.require_whole(folder, about["sha256"])
        self.name: str = f"{about['name']}/ort-{onnxruntime.__version__}"
        self.dim: int = about["dim"]
        self._lower: bool = about["lower"]
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(about["max_tokens"], stride=about["max_tokens"] // 4)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )

    def encode(self, texts: Sequence[str]) -> Vectors:
        rows = np.empty((len(texts), self.dim), np.float32)
        for row, text in zip(rows, texts, strict=True):
            row[:] = self._vector(text.lower() if self._lower else text)
        return rows

    def encode_alike(self, texts: Sequence[str]) -> Vectors:
        """Return what `encode` does but for the last bits, some times faster: for measuring, not for serving.

        Texts of one length are run together, and a sum over many rounds differently from a sum over one.
        """
        rows = np.empty((len(texts), self.dim), np.float32)
        alike: dict[int, list[tuple[int, Any]]] = {}
        for at, text in enumerate(texts):
            encoding = self._encoding(text.lower() if self._lower else text)
            if encoding.overflowing:
                rows[at] = self._averaged(encoding)
            else:
                alike.setdefault(len(encoding.ids), []).append((at, encoding.ids))
        for length, group in alike.items():
            for start in range(0, len(group), _TOGETHER):
                places, ids = zip(*group[start : start + _TOGETHER], strict=True)
                fed = {
                    "input_ids": np.array(ids, np.int64),
                    "attention_mask": np.ones((len(ids), length), np.int64),
                }
                rows[list(places)] = self._session.run(None, fed)[0]
        return rows

    def _encoding(self, text: str) -> Any:
        # A lone surrogate has no UTF-8 form, and the tokenizer takes nothing else.
        return self._tokenizer.encode(text.encode("utf-8", "replace").decode("utf-8"))

    def _vector(self, text: str) -> Vectors:
        return self._averaged(self._encoding(text))

    def _averaged(self, encoding: Any) -> Vectors:
        windows = [self._run(part) for part in (encoding, *encoding.overflowing)]
        mean: Vectors = np.mean(windows, axis=0)
        return mean if len(windows) == 1 else mean / max(float(np.linalg.norm(mean)), 1e-12)

    def _run(self, encoding: Any) -> Vectors:
        fed = {
            "input_ids": np.array([encoding.ids], np.int64),
            "attention_mask": np.array([encoding.attention_mask], np.int64),
        }
        vector: Vectors = self._session.run(None, fed)[0][0]
        return vector


def load_encoder(state: Path, model: str | None = None) -> OnnxEncoder:
    """Load an encoder's export, shipped or from `state`; export it there at first use, in a child process.

    model: a sentence-transformers folder or name; None means the packaged default.
    Raises EncoderUnavailable where the model cannot be found, exported or loaded.
    """
    folder = require_obtainable(state, model)
    if not (folder / exports.ABOUT).is_file():
        log.info(exports.ANNOUNCEMENT)
        _export_in_child(model, folder)
    try:
        return OnnxEncoder(folder)
    except Exception as error:  # its libraries raise types of their own; none may pass as loaded
        raise EncoderUnavailable(f"the encoder cannot be loaded: {exports.damage(folder, error)}") from error


def require_obtainable(state: Path, model: str | None) -> Path:
    """Return the folder of a model's export, which is there or can, by all that is seen now, be made.

    Raises EncoderUnavailable where it cannot; takes seconds where a model's name is known to no one.
    """
    folder = exports.folder_of(state, model)
    if not (folder / exports.ABOUT).is_file() and (reason := exports.obstacle(model, DEFAULT_MODEL)):
        raise EncoderUnavailable(f"the encoder {model or DEFAULT_MODEL} cannot be exported: {reason}")
    return folder


def _export_in_child(model: str | None, folder: Path) -> None:
    root = str(Path(__file__).resolve().parent.parent)
    paths = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "guards.encoder", str(folder), *([model] if model else [])]
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no reason given"]
        raise EncoderUnavailable(f"the encoder {model or DEFAULT_MODEL} cannot be exported: {said[-1]}")


def export_encoder(model: str | None, folder: Path) -> Path:
    """Export a sentence-transformers model to ONNX at `folder`, whole or not at all, and return `folder`.

    Imports torch.  What is written has a cosine of at least 0.999 to the original on a few sentences of very
    different lengths, else ValueError is raised and nothing is left.  An export that is there already stays.
    """
    source = model
    if source is None:
        source = str(_packaged())
        os.environ["HF_HUB_OFFLINE"] = "1"
    if Path(source).is_dir() and not (Path(source) / "modules.json").is_file():
        raise FileNotFoundError("no modules.json: nothing says how the model's tokens become one vector")
    from sentence_transformers import SentenceTransformer

    # Eager attention is what the tracing exporter can follow for every length of text.
    original = SentenceTransformer(source, device="cpu", model_kwargs={"attn_implementation": "eager"}).eval()
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=".export-", dir=folder.parent))
    try:
        _write_export(original, made, model or DEFAULT_MODEL, folder.name)
        _verify(original, OnnxEncoder(made))
        made.chmod(0o755)  # mkdtemp's 0700 would lock out a server that runs as another user
        with suppress(OSError):  # another process was faster; its export was verified too
            made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


def _packaged() -> Path:
    spec = importlib.util.find_spec(DEFAULT_MODEL.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"the package {DEFAULT_MODEL} is not installed")
    return Path(spec.submodule_search_locations[0]) / "model"


def _write_export(original: Any, folder: Path, model: str, key: str) -> None:
    import torch

    class Whole(torch.nn.Module):
        """All modules of the model in one graph, pooling and norm too, as its configuration says."""

        def __init__(self) -> None:
            super().__init__()
            self.modules_of_model = original

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            fed = {"input_ids": input_ids, "attention_mask": attention_mask}
            vectors = self.modules_of_model(fed)["sentence_embedding"]
            return torch.nn.functional.normalize(vectors, dim=1)

    tokenizer = original.tokenizer
    sample = tokenizer(list(_PROBES[:2]), padding=True, return_tensors="pt")
    by_text = {0: "texts", 1: "tokens"}
    with torch.no_grad(), warnings.catch_warnings():
        # The tracer warns about branches on lengths; `_verify` measures what came of them.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Whole(),
            (sample["input_ids"], sample["attention_mask"]),
            str(folder / "model.onnx"),
            input_names=["input_ids", "attention_mask"],
            output_names=["vectors"],
            dynamic_axes={"input_ids": by_text, "attention_mask": by_text, "vectors": {0: "texts"}},
            opset_version=17,
            dynamo=False,  # the other exporter needs one more package and gives the same vectors
        )
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    about = {
        "name": f"{Path(model).name}@{key}",
        "dim": len(original.encode(_PROBES[0], show_progress_bar=False)),
        "max_tokens": original.max_seq_length,
        "lower": bool(getattr(original[0], "do_lower_case", False)),
        "sha256": exports.sums(folder),
    }
    (folder / exports.ABOUT).write_text(json.dumps(about), encoding="utf-8")


def _verify(original: Any, exported: Encoder) -> None:
    wanted = original.encode(list(_PROBES), normalize_embeddings=True, show_progress_bar=False)
    cosines = (exported.encode(_PROBES) * wanted).sum(axis=1)
    if not float(cosines.min()) >= _LEAST_COSINE:
        raise ValueError(f"the export differs from the original: least cosine {float(cosines.min()):.4f}")


if __name__ == "__main__":
    export_encoder(sys.argv[2] if len(sys.argv) > 2 else None, Path(sys.argv[1]))
