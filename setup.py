"""The one thing that setup.cfg can't say: packages in two folders. All else is there."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["bmid", "bmid.*"]), *find_packages("bmi-publish")],
    package_dir={"bmi_publish": "bmi-publish/bmi_publish"},
)
