"""Shards in a bucket of a server that speaks S3, reached without TLS as in a cluster of one's own."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import cli
from datamodules.errors import DataError
from datamodules.shards import ShardedSource
from shard_samples import assert_same, mixed_source, shard


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    running = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A bucket named "data"; the environment has the server's address and credentials."""
    import boto3

    for name, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    made = boto3.resource("s3").create_bucket(Bucket="data")
    yield made
    made.objects.delete()


@pytest.mark.parametrize("form", ["compressed", "decoded"])
def test_samples_and_pixels_come_back_from_a_bucket(bucket: Any, tmp_path: Path, form: str) -> None:
    wanted = mixed_source(tmp_path / "media")
    place = shard(wanted, f"s3://data/some/prefix-{form}", form)
    source = ShardedSource(place, tmp_path / "cache", max_cache_bytes="40KB")
    for index in range(len(wanted)):
        assert_same(source[index], wanted[index])
        assert_same(pickle.loads(pickle.dumps(source[index])), wanted[index])
        assert sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*.bin")) <= 40_000
    assert {key.key.rsplit("/", 1)[0] for key in bucket.objects.all()} == {f"some/prefix-{form}"}


def test_an_endpoint_in_the_configuration_stands_for_the_environments(
    bucket: Any, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = mixed_source(tmp_path / "media")
    place = shard(wanted, "s3://data/elsewhere")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    source = ShardedSource(place, tmp_path / "cache", endpoint=server)
    assert_same(source[0], wanted[0])


def test_what_the_server_refuses_is_one_line(bucket: Any, tmp_path: Path) -> None:
    source = ShardedSource(shard(mixed_source(tmp_path / "media"), "s3://data/damaged"), tmp_path / "cache")
    assert len(source) == 9
    chunk = bucket.Object("damaged/chunk-0-0.bin")
    size = chunk.content_length
    chunk.put(Body=b"short")
    with pytest.raises(DataError, match=f"^s3://data/damaged/chunk-0-0.bin: 5 bytes, the index says {size}$"):
        source[0]
    chunk.delete()
    with pytest.raises(DataError, match=r"^s3://data/damaged/chunk-0-0.bin: .*404.*Not Found"):
        source[0]
    with pytest.raises(DataError, match=r"^s3://data/nowhere/source.json: not there"):
        len(ShardedSource("s3://data/nowhere"))
    with pytest.raises(DataError, match=r"^s3://nobody/shards/source.json: .*NoSuchBucket"):
        len(ShardedSource("s3://nobody/shards"))


def test_a_server_that_is_not_there_is_one_line(bucket: Any) -> None:
    with pytest.raises(DataError, match=r"^s3://data/x/source.json: .*http://127.0.0.1:9"):
        len(ShardedSource("s3://data/x", endpoint="http://127.0.0.1:9"))


def test_the_command_writes_every_source_of_a_split(
    bucket: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shapes = {
        kind: {"class_path": "datamodules.shapes.ShapesStream", "init_args": {"kind": kind, "size": 6}}
        for kind in ("image", "video")
    }
    data = {"class_path": "datamodules.VideoRegionDataModule", "init_args": {"train": shapes}}
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"data": data}))
    cli.main(["shard", "--config", str(config), "--to", "s3://data/shapes/", "--media", "decoded"])
    printed = capsys.readouterr().out
    for kind in shapes:
        assert f"s3://data/shapes/train/{kind}: 6 samples, 1 chunks, " in printed
        assert len(ShardedSource(f"s3://data/shapes/train/{kind}", tmp_path / "cache")) == 6
    with pytest.raises(SystemExit):
        cli.main(["shard", "--config", str(config), "--to", "s3://data/shapes", "--split", "val"])
    assert "error: the configuration has no val source" in capsys.readouterr().err
