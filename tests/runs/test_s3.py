"""An S3-compatible server: rows, a run's mirror, and an adapter that is pushed and pulled."""

import shutil
import urllib.request

import pytest

import tunesmith as ts
from tests.runs.tiny import config, rows_file
from tunesmith.core.errors import AdapterError, RunError, StorageError
from tunesmith.core.progress import SILENT
from tunesmith.core.remote import copied
from tunesmith.data.read import scan
from tunesmith.runs.mirror import Mirror, copy_ended, pulled
from tunesmith.runs.run import resume_run, train_run

pytestmark = pytest.mark.slow
URL = "s3://bucket/runs/x"


@pytest.fixture
def bucket(home, monkeypatch):
    """An empty bucket of a server on this machine, found as users' are: by the environment."""
    s3fs, server = pytest.importorskip("s3fs"), pytest.importorskip("moto.server")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    address = "http://{}:{}".format(*running.get_host_and_port())
    # Servers of one process share what they hold.
    urllib.request.urlopen(f"{address}/moto-api/reset", data=b"").close()
    environment = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    system = s3fs.S3FileSystem()
    system.mkdir("bucket")
    yield system
    s3fs.S3FileSystem.clear_instance_cache()
    running.stop()


def test_rows_and_folders_of_them_are_read(bucket, tmp_path):
    rows = rows_file(tmp_path / "rows.jsonl")
    bucket.put_file(str(rows), "bucket/rows/a.jsonl")
    bucket.put_file(str(rows), "bucket/rows/sub/b.jsonl")
    assert len(scan("s3://bucket/rows/a.jsonl").conversations) == 24
    assert len(scan("s3://bucket/rows").conversations) == 48
    bucket.pipe_file("bucket/rows/a.jsonl", rows.read_bytes().splitlines(keepends=True)[0])
    assert len(scan("s3://bucket/rows/a.jsonl").conversations) == 1


def test_a_missing_object_and_a_missing_bucket_are_refused(bucket):
    for url in ("s3://bucket/none.jsonl", "s3://none/rows.jsonl"):
        with pytest.raises(StorageError, match=url):
            copied(url)


def test_a_run_over_rows_there_is_resumed_from_its_mirror_in_the_same_bytes(bucket, tmp_path):
    config(tmp_path)  # makes the base and the rows
    bucket.put_file(str(tmp_path / "rows.jsonl"), "bucket/rows.jsonl")
    data = {"train": "s3://bucket/rows.jsonl", "eval": 0.2}
    train_run(config(tmp_path, data=data, out=str(tmp_path / "whole")))
    train_run(config(tmp_path, data=data, mirror=URL))
    copy_ended(tmp_path / "run", SILENT)
    with pytest.raises(RunError, match="holds a run already"):
        train_run(config(tmp_path, data=data, mirror=URL, out=str(tmp_path / "other")))

    # as if the machine had gone after the first checkpoint that is kept
    steps = sorted({name.split("/")[4] for name in bucket.find("bucket/runs/x/checkpoints")})
    kept = [step for step in steps if step.startswith("step-")]
    for name in bucket.find("bucket/runs/x"):
        if f"/{kept[-1]}/" in name or "/adapter/" in name or name.endswith("summary.json"):
            bucket.rm_file(name)
    shutil.rmtree(tmp_path / "run")
    resume_run(pulled(URL, SILENT))
    Mirror(tmp_path / "run", URL).push()
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        ours, theirs = (tmp_path / run / "adapter" / name for run in ("run", "whole"))
        assert ours.read_bytes() == theirs.read_bytes()
        assert bucket.cat_file(f"bucket/runs/x/adapter/{name}") == theirs.read_bytes()


def test_an_adapter_that_was_pushed_there_gives_the_same_answers_on_a_clean_cache(
    bucket, tmp_path, monkeypatch
):
    train_run(config(tmp_path, train={"steps": 2, "rows_per_step": 3, "lr": 0.01}))
    url = "s3://bucket/adapters/numbers"
    ts.push_adapter(tmp_path / "run", url, progress=False)
    with pytest.raises(StorageError, match="holds files already"):
        ts.push_adapter(tmp_path / "run", url, progress=False)
    ts.push_adapter(tmp_path / "run", url, replace=True, progress=False)

    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "clean"))
    found = ts.pull_adapter(url, progress=False)
    base = str(tmp_path / "base")
    assert ts.verify(found.folder, model=base, progress=False).is_good
    prompts = ["say 3", "say 8"]
    answers = [
        ts.load(base, adapters={"a": folder}).generate(prompts, adapter="a", max_new_tokens=6)
        for folder in (tmp_path / "run", found.folder)
    ]
    first, second = ([str(answer) for answer in each] for each in answers)
    assert first == second

    weights = "bucket/adapters/numbers/adapter_model.safetensors"
    bucket.pipe_file(weights, bucket.cat_file(weights)[:-1] + b"?")
    with pytest.raises(AdapterError, match="not as it was pushed"):
        ts.pull_adapter(url, progress=False)
