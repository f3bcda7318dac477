"""The local AWS (``localaws``) in Amazon's place, for candidates that AWS serves."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from common.aws import aws_errors
from common.errors import UserError
from comparison.settings import Spec

if TYPE_CHECKING:
    from localaws import LocalAWS

_BUCKET = re.compile(r"s3://([^/\"]+)")
_ROLE = "arn:aws:iam::123456789012:role/skills-bot-compare"
# What the local AWS runs for the image of our container.
IMAGES = {"*camembert*": f"{shlex.quote(sys.executable)} -m infra.sagemaker"}
_IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/camembert-inference:latest"
_MODELS = "skills-bot-compare-models"


@contextlib.contextmanager
def started(specs: Sequence[Spec], log: Path) -> Iterator[LocalAWS]:
    """Run a local AWS with the buckets that the candidates name.

    Raises:
        UserError: This is no checkout of the repository, which it is part of.
    """
    try:
        from localaws import LocalAWS
    except ImportError as error:
        raise UserError(
            "The local AWS is part of the repository and not of the installed package. Run this "
            "in a checkout, leave out the candidates with a service (--only), or ask Amazon "
            "(--real-aws)."
        ) from error
    log.parent.mkdir(parents=True, exist_ok=True)
    with LocalAWS(images=IMAGES, log=log) as aws:
        definitions = json.dumps([spec.model for spec in specs])
        for bucket in sorted({_MODELS, *_BUCKET.findall(definitions)}):
            aws.client("s3").create_bucket(
                Bucket=bucket,
                CreateBucketConfiguration={"LocationConstraint": aws.environment()["AWS_REGION"]},
            )
        yield aws


def environment(aws: LocalAWS) -> dict[str, str | None]:
    """Return the variables that lead AWS's chain there and nowhere else; None unsets one."""
    return {
        **{name: None for name in os.environ if name.startswith("AWS_")},
        **aws.environment(),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def deploy(aws: LocalAWS, spec: Spec, served_model: Path) -> None:
    """Serve a trained CamemBERT at the SageMaker endpoint that a candidate's pipeline names.

    Args:
        aws: The local AWS.
        spec: The candidate.
        served_model: The folder with ``model.onnx``.

    Raises:
        UserError: The candidate names no endpoint, or the endpoint does not start.
    """
    names = [one["sagemaker_endpoint"] for one in spec.model if "sagemaker_endpoint" in one]
    if not names:
        raise UserError(f"{spec.key}: no component has the key 'sagemaker_endpoint'.")
    with aws_errors(f"deploy {spec.key} to the local AWS"):
        _upload(aws, served_model, f"{spec.key}.tar.gz")
        sagemaker = aws.client("sagemaker")
        sagemaker.create_model(
            ModelName=spec.key,
            ExecutionRoleArn=_ROLE,
            PrimaryContainer={
                "Image": _IMAGE,
                "ModelDataUrl": f"s3://{_MODELS}/{spec.key}.tar.gz",
            },
        )
        variant = {
            "VariantName": "AllTraffic",
            "ModelName": spec.key,
            "InstanceType": "ml.t2.medium",
            "InitialInstanceCount": 1,
        }
        sagemaker.create_endpoint_config(EndpointConfigName=spec.key, ProductionVariants=[variant])
        for name in names:
            sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=spec.key)
            sagemaker.get_waiter("endpoint_in_service").wait(
                EndpointName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 120}
            )


def _upload(aws: LocalAWS, folder: Path, key: str) -> None:
    """Put a folder into the bucket of models, as SageMaker wants it."""
    with tempfile.TemporaryFile() as archive:
        with tarfile.open(fileobj=archive, mode="w:gz", compresslevel=1) as files:
            for path in sorted(folder.iterdir()):
                files.add(path, path.name)
        archive.seek(0)
        aws.client("s3").upload_fileobj(archive, _MODELS, key)
