"""The worked example in docs/order.md says what its first command prints."""

from __future__ import annotations

import re
import shlex

from genmat.cli.main import run


def test_first_command(root, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(root)
    (block, *_) = re.findall(r"```console\n\$ (.*?)\n(.*?)```", (root / "docs/order.md").read_text(), re.S)
    command, printed = block
    arguments = shlex.split(command)[1:]
    arguments[arguments.index("--out") + 1] = str(tmp_path / "out")
    assert run(arguments) == 0
    told = capsys.readouterr()
    assert printed.strip() in f"{told.err}{told.out}"
