"""A distribution of its own: it works where nothing else of this repository is."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
CALL = """
import sys, localaws
assert localaws.__file__.startswith(sys.argv[1])
with localaws.LocalAWS() as aws:
    aws.client("s3").create_bucket(
        Bucket="one", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    print(aws.client("s3").list_buckets()["Buckets"][0]["Name"])
"""


def test_its_wheel_works_elsewhere(tmp_path: Path) -> None:
    sources = shutil.copytree(HERE, tmp_path / "sources", ignore=shutil.ignore_patterns("tests"))
    build = ["wheel", "--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "pip", *build, str(sources)], check=True)
    (wheel,) = tmp_path.glob("localaws-*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(site)
    assert "localaws/sagemaker/hosting.py" in names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"localaws"}
    done = subprocess.run(
        [sys.executable, "-c", CALL, str(site)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(site), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "one", done.stderr
