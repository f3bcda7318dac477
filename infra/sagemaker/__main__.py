"""``python -m infra.sagemaker train|serve``: what the image's ENTRYPOINT starts."""

from __future__ import annotations

import argparse
import logging
import sys


def main() -> int:
    """Run the program that SageMaker names as the container's argument."""
    parser = argparse.ArgumentParser(prog="python -m infra.sagemaker", description=__doc__)
    parser.add_argument("program", choices=["train", "serve"])
    program = parser.parse_args().program
    # CloudWatch puts the time in front of each line.
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    # On demand: the image that serves has nothing of what training needs.
    if program == "train":
        from infra.sagemaker.train import main as run
    else:
        from infra.sagemaker.serve import main as run
    return run()


if __name__ == "__main__":
    sys.exit(main())
