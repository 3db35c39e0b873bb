"""RecBole's BPR, an epoch or an evaluation at a time; needs RecBole's own environment and a temporary folder.

    python recbole_worker.py SETTINGS   where SETTINGS is RecBole's configuration as JSON

Answers every line of its input, `train` or `evaluate`, with the seconds that it took. The working folder holds
`rows/rows.{train,valid,test}.inter`; RecBole also writes its logs there.
"""

import json
import os
import sys
import time
from typing import Any

import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.general_recommender import BPR
from recbole.trainer import Trainer


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # RecBole prints to stdout
    torch.set_num_threads(1)
    settings: dict[str, Any] = json.loads(sys.argv[1])
    config = Config(model="BPR", dataset="rows", config_dict=settings)
    train, valid, _ = data_preparation(config, create_dataset(config))
    trainer = Trainer(config, BPR(config, train.dataset).to(config["device"]))
    trainer.eval_collector.data_collect(train)
    for epoch, line in enumerate(sys.stdin):
        start = time.perf_counter()
        if line.strip() == "train":
            trainer._train_epoch(train, epoch)
        else:
            trainer.evaluate(valid, load_best_model=False)
        answers.write(f"{time.perf_counter() - start}\n")


if __name__ == "__main__":
    main()
