"""What the user's interpreter runs as a worker: finds Kennel's module and package, and serves; or runs a file of tests.

The one argument, if there is one, is the module's file, which carries the package's source; without it both are
installed.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys

# Where this text is run from is nobody's code.
if sys.path and sys.path[0] == "":
    del sys.path[0]


class Carried(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    def __init__(self, file):
        loader = importlib.machinery.ExtensionFileLoader("kennel._native", file)
        spec = importlib.util.spec_from_file_location("kennel._native", file, loader=loader)
        self.native = importlib.util.module_from_spec(spec)
        loader.exec_module(self.native)
        self.files = dict(self.native.sources())

    def file_of(self, name):
        return name.partition(".")[2] + ".py" if "." in name else "__init__.py"

    def find_spec(self, name, path=None, target=None):
        if name == "kennel._native":
            return importlib.machinery.ModuleSpec(name, self)
        if name.partition(".")[0] != "kennel" or self.file_of(name) not in self.files:
            return None
        origin = "<kennel>/" + self.file_of(name)
        return importlib.machinery.ModuleSpec(name, self, origin=origin, is_package=name == "kennel")

    def create_module(self, spec):
        return self.native if spec.name == "kennel._native" else None

    def exec_module(self, module):
        if module is not self.native:
            super().exec_module(module)

    def get_source(self, name):
        return self.files[self.file_of(name)]

    def get_code(self, name):
        return compile(self.get_source(name), "<kennel>/" + self.file_of(name), "exec", dont_inherit=True)


if len(sys.argv) > 1:
    sys.meta_path.insert(0, Carried(sys.argv.pop()))

if "KENNEL_TEST" in os.environ:
    from kennel._test_file import main
else:
    from kennel._serve import main

sys.exit(main())
