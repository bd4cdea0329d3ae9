"""Builds the wheel as maturin does, with the program `kennel` in it beside the module.

Works in a clone of the whole repository, as in `pip install ./handler-py`.
"""

import shutil
import subprocess
from pathlib import Path

import maturin
from maturin import (  # noqa: F401  (pip asks for these by name)
    get_requires_for_build_editable,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

HERE = Path(__file__).resolve().parent
# maturin wants it to be there before anything is built.
SCRIPTS = HERE / "kennel.data" / "scripts"
SCRIPTS.mkdir(parents=True, exist_ok=True)


def add_program():
    """Builds the program and puts it where maturin looks for what goes into `bin`."""
    manifest = HERE.parent / "Cargo.toml"
    if not manifest.is_file():
        raise SystemExit("the program `kennel` is built from the whole repository: clone it, and install ./handler-py")
    command = ["cargo", "build", "--release", "--locked", "--package", "kennel", "--manifest-path", str(manifest)]
    subprocess.run([*command, "--message-format=json-render-diagnostics"], check=True, stdout=subprocess.PIPE)
    metadata = ["cargo", "metadata", "--format-version=1", "--no-deps", "--manifest-path", str(manifest)]
    found = subprocess.run(metadata, check=True, stdout=subprocess.PIPE, text=True).stdout
    target = Path(found.rpartition('"target_directory":"')[2].partition('"')[0])
    shutil.copy2(target / "release" / "kennel", SCRIPTS / "kennel")


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    add_program()
    return maturin.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    add_program()
    return maturin.build_editable(wheel_directory, config_settings, metadata_directory)
