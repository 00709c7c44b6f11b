"""The server as a process of its own, and the example in README."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import openai
import pytest
import torch
from chatting import PICTURE, QUESTION, asking, served
from PIL import Image

import cli
from datamodules.types import Box
from experiments.serving.listening import listen
from helpers import tiny_module
from lightning_modules.asking import ask

ROOT = Path(__file__).parents[3]
SECTION = re.search(r"^## Serve\n(.*?)^## ", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)


def refused(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    with pytest.raises(SystemExit):
        cli.main(["serve", *options])
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_what_cannot_be_served_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    given = [f"--ckpt_path={tmp_path}/none.ckpt", "--port=0"]
    assert "none.ckpt" in refused(capsys, *given)
    assert "NO_SUCH_KEY holds no API key" in refused(capsys, *given, "--api_key_env=NO_SUCH_KEY")
    assert "--device gpu" in refused(capsys, *given, "--device=gpu")
    assert "cannot listen on 192.0.2.1 port 0" in refused(capsys, *given, "--host=192.0.2.1")
    assert "--port: 99999 is more than 65535" in refused(capsys, given[0], "--port=99999")
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert f"cannot listen on 127.0.0.1 port {port}: Address already" in refused(capsys, given[0], f"--port={port}")
    assert "--max_seconds: 0 is not above 0" in refused(capsys, *given, "--max_seconds=0")


def test_readme_asks_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By curl and by the client, the same question; both get the answer that `ask` gives."""
    assert SECTION is not None
    python, (curl,) = (re.findall(rf"```{kind}\n(.*?)```", SECTION[1], re.DOTALL) for kind in ("python", "bash"))
    Image.fromarray(PICTURE.repeat(8, 0).repeat(8, 1)).save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    module = tiny_module(tmp_path).eval()
    boxes, question = [Box((10, 20, 80, 90)), Box((100, 40, 180, 120))], "Is <region0> left of <region1>?"
    wanted = ask(module, tmp_path / "photo.png", boxes, question).conversation[-1].answer
    sent = re.sub(r"^python.*\n", "", re.sub(r"curl.*(?= <<)", "cat", curl), flags=re.MULTILINE)
    body = subprocess.run(["bash", "-c", sent], stdout=subprocess.PIPE, check=True).stdout
    with served(module) as client:
        asked = {**json.loads(body), "model": "tiny"}
        said = client.post("/v1/chat/completions", json=asked).json()["choices"][0]["message"]
        assert said["content"] == wanted
        monkeypatch.setattr(openai, "OpenAI", partial(openai.OpenAI, http_client=client))
        found: dict[str, Any] = {}
        exec(python[0].replace("localhost:8000", "testserver").replace('"last"', '"tiny"'), found)
        assert found["answer"].content == wanted


@pytest.mark.slow
def test_a_process_answers_the_openai_client(tmp_path: Path) -> None:
    """Many at once, whole and in pieces; it ends when it is told to, and says nothing but where it is."""
    module = tiny_module(tmp_path).eval()
    checkpoint: dict[str, Any] = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, tmp_path / "last.ckpt")
    wanted = ask(module, PICTURE, [Box((1, 2, 9, 9))], QUESTION).conversation[-1].answer
    command = [sys.executable, "cli.py", "serve", f"--ckpt_path={tmp_path}/last.ckpt", "--port=0", "--api_key_env=KEY"]
    with subprocess.Popen(
        command, cwd=ROOT, env={"KEY": "s3cret"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None and process.stderr is not None
            line = process.stdout.readline()
            found = re.fullmatch(r"serving 'last' at (http://127\.0\.0\.1:\d+/v1)\n", line)
            assert found, line + process.stderr.read()
            client = openai.OpenAI(base_url=found[1], api_key="s3cret", max_retries=0)
            asked: Any = {**asking(), "model": "last"}
            with ThreadPoolExecutor(8) as pool:
                answers = list(pool.map(lambda _: client.chat.completions.create(**asked), range(8)))
            assert {one.choices[0].message.content for one in answers} == {wanted}
            chunks = client.chat.completions.create(**asked, stream=True)
            assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == wanted
            with pytest.raises(openai.BadRequestError, match="temperature"):
                client.chat.completions.create(**asked, temperature=1.0)
            long: Any = {"model": "last", "messages": [{"role": "user", "content": "a" * 40 * 2**20}]}
            with pytest.raises(openai.APIStatusError, match="at most 33,554,432 bytes"):
                client.chat.completions.create(**long)
            with pytest.raises(openai.AuthenticationError):
                client.with_options(api_key="other").chat.completions.create(**long)
        finally:
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM
    assert (out, err) == ("", "")
