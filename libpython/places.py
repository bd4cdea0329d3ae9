"""Prints where the shared library of the interpreter that runs this is; nothing: it has none."""

import os
import sys
import sysconfig

config = sysconfig.get_config_vars()
folder = config.get("LIBDIR") or ""
folders = [folder, os.path.join(folder, config.get("MULTIARCH") or ""), os.path.join(sys.base_prefix, "lib")]
names = [config.get("INSTSONAME") or "", "libpython{}.{}.so.1.0".format(*sys.version_info)]
places = [os.path.join(folder, name) for folder in folders for name in names if ".so" in name]
print(*[place for place in places if os.path.isfile(place)][:1])
