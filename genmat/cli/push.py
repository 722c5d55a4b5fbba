"""`genmat push`: a model to the Hugging Face Hub. Without --yes it only says what would go; no network is asked."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from genmat import __version__
from genmat.cli import options as opt
from genmat.errors import GenmatError, did_you_mean

CARD_KEYS = ("license", "library_name", "tags")


def push(
    model: Annotated[str, typer.Argument(help="Name of a shipped model, or a folder with a snapshot.")],
    repo: Annotated[str, typer.Option(help="Where to: USER/NAME on the Hub.")],
    yes: Annotated[bool, typer.Option("--yes", help="Really send it; needs a token (hf auth login).")] = False,
    private: Annotated[bool, typer.Option("--private", help="A repository that is made for it is private.")] = False,
    json: opt.Json = False,
) -> None:
    """Push a model to the Hub: a dry run that shows files, sums and card, unless --yes."""
    from genmat.cli.console import emit, note

    plan = contents(model, repo)
    sent = send(plan, private) if yes else None
    if json:
        emit({**plan, "sent": sent})
        return
    for file in plan["files"]:
        print(f"{file['bytes']:>10,}  {file['sha256']}  {file['name']}")
    print(f"{sum(file['bytes'] for file in plan['files']):>10,}  bytes in {len(plan['files'])} files\n\ncard:")
    print(plan["card"])
    if sent is None:
        note(f"dry run, nothing was sent: the same with --yes pushes {plan['folder']} to {repo}")
    else:
        note(f"pushed: {sent}")


def contents(model: str, repo: str) -> dict[str, Any]:
    """What would go: repo, folder, files (name, bytes, sha256) and the card's header as text.

    Raises:
        GenmatError: no such model here, no repository name, or a card the Hub could not show.
    """
    from genmat.generation.sampler import model_folders

    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", repo):
        raise GenmatError(f"{repo!r}: no name of a repository; write it as USER/NAME")
    shipped = model_folders()
    folder = Path(model) if Path(model).is_dir() else shipped.get(model)
    if folder is None:
        raise GenmatError(did_you_mean(model, shipped, "model"))
    if not (folder / "config.json").is_file() or not list(folder.glob("*.safetensors")):
        raise GenmatError(f"{model}: no snapshot (config.json and a safetensors file); give the folder of one")
    files = [
        {"name": str(path.relative_to(folder)), "bytes": path.stat().st_size, "sha256": _sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part[0] in "._" for part in path.relative_to(folder).parts)
    ]
    return {"repo": repo, "folder": str(folder), "files": files, "card": _card(folder)}


def send(plan: dict[str, Any], private: bool) -> str:
    """Push exactly the files of the plan; the address of the commit.

    Raises:
        GenmatError: no token, no permission, no network.
    """
    from huggingface_hub import HfApi

    api = HfApi(library_name="genmat", library_version=__version__)
    try:
        api.create_repo(plan["repo"], private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=plan["repo"],
            folder_path=plan["folder"],
            allow_patterns=[file["name"] for file in plan["files"]],
            commit_message=f"{Path(plan['folder']).name} of genmat {__version__}",
        )
    except Exception as error:  # the client's own errors have many roots: no network, no token, no permission
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise GenmatError(
            f"{plan['repo']}: the Hub did not take it ({reason}); check network, token and name"
        ) from None
    return str(commit.commit_url)


def _card(folder: Path) -> str:
    """The header of the model card.

    Raises:
        GenmatError: no card, or one without licence, library and tags.
    """
    import yaml

    path = folder / "README.md"
    parts = path.read_text(encoding="utf-8").split("---\n", 2) if path.is_file() else []
    if len(parts) != 3 or parts[0]:
        raise GenmatError(f"{path}: no model card with a YAML header; write it before pushing")
    header = yaml.safe_load(parts[1])
    missing = [key for key in CARD_KEYS if key not in header]
    if missing:
        raise GenmatError(f"{path}: its header lacks {', '.join(missing)}; add it")
    return parts[1].rstrip()


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
