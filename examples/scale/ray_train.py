"""Ray: `ray job submit --working-dir . -- python examples/scale/ray_train.py tunesmith.yaml RUN`.

RUN is a folder that all machines see. Each worker of Ray is a rank, which trains in a process of
its own: Ray runs its function in a thread, where no signal arrives. Where a worker is lost, Ray
starts all of them again, and the run is resumed.
"""

import argparse
import os
import socket
import subprocess
import sys
from pathlib import Path

from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer


def train_rank(settings: dict[str, str]) -> None:
    """Train as the rank that this worker is."""
    import torch.distributed as dist

    # Ray keeps the address that it met at itself; the ranks need another one, which gloo reports.
    told = [_plan(settings) if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(told)
    assert told[0] is not None
    host, port, words = told[0]
    environment = {**os.environ, "MASTER_ADDR": host, "MASTER_PORT": port}
    subprocess.run(
        [sys.executable, "-m", "tunesmith", "train", *words], env=environment, check=True
    )


def _plan(settings: dict[str, str]) -> tuple[str, str, list[str]]:
    """Where the ranks meet, and the words after `tunesmith train`; rank 0 decides for all."""
    with socket.socket() as free:
        free.bind(("", 0))
        port = str(free.getsockname()[1])
    run = settings["run"]
    begun = (Path(run) / "config.yaml").is_file()
    words = ["--resume", run] if begun else [settings["config"], "--out", run]
    return os.environ["MASTER_ADDR"], port, words


def trainer(config: str, run: str, ranks: int, *, on_gpus: bool) -> TorchTrainer:
    """Ray's trainer of this run; its ``fit`` trains."""
    return TorchTrainer(
        train_rank,
        train_loop_config={"config": config, "run": run},
        torch_config=TorchConfig(backend="gloo"),  # the ranks have NCCL of their own
        scaling_config=ScalingConfig(num_workers=ranks, use_gpu=on_gpus),
        run_config=RunConfig(
            name="tunesmith",
            storage_path=str(Path(run).absolute().parent),
            failure_config=FailureConfig(max_failures=3),
        ),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train with Ray.")
    parser.add_argument("config")
    parser.add_argument("run")
    parser.add_argument("--ranks", type=int, default=8, help="a power of two, as many as GPUs")
    parser.add_argument("--cpu", action="store_true", help="no GPUs")
    given = parser.parse_args()
    trainer(given.config, str(Path(given.run).absolute()), given.ranks, on_gpus=not given.cpu).fit()
