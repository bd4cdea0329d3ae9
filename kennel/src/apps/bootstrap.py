"""What the user's interpreter runs as a worker: finds Kennel's module and package, and serves; or runs a file of tests.

The first argument, if there is one, is the module's file, which carries the package's source; without it both are
installed. The second one is a folder for the compiled package.
"""

import sys

# Where this text is run from is nobody's code, and nobody's library either.
if sys.path and sys.path[0] == "":
    del sys.path[0]

import importlib.abc
import importlib.machinery
import importlib.util
import marshal
import os


class Carried(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    def __init__(self, file, kept=None):
        loader = importlib.machinery.ExtensionFileLoader("kennel._native", file)
        spec = importlib.util.spec_from_file_location("kennel._native", file, loader=loader)
        self.native = importlib.util.module_from_spec(spec)
        loader.exec_module(self.native)
        self.files = dict(self.native.sources())
        self.kept = kept
        self.codes = kept.read() if kept else {}
        self.complete = True
        self.started = False

    def file_of(self, name):
        """The file of a module, by its path in the package; `None`: there is none."""
        path = name.replace(".", "/")[len("kennel/") :]
        for file in (path + ".py", path + "/__init__.py" if path else "__init__.py"):
            if file in self.files:
                return file
        return None

    def find_spec(self, name, path=None, target=None):
        if name == "kennel._native":
            return importlib.machinery.ModuleSpec(name, self)
        file = self.file_of(name) if name.partition(".")[0] == "kennel" else None
        if file is None:
            return None
        is_package = file.endswith("__init__.py")
        return importlib.machinery.ModuleSpec(name, self, origin="<kennel>/" + file, is_package=is_package)

    def create_module(self, spec):
        return self.native if spec.name == "kennel._native" else None

    def exec_module(self, module):
        if module is not self.native:
            super().exec_module(module)

    def get_source(self, name):
        return self.files[self.file_of(name)]

    def get_code(self, name):
        file = self.file_of(name)
        if file in self.codes:
            return marshal.loads(self.codes[file])
        code = compile(self.get_source(name), "<kennel>/" + file, "exec", dont_inherit=True)
        self.codes[file] = marshal.dumps(code)
        self.complete = False
        if self.started:
            self.keep()
        return code

    def keep(self):
        """Leaves what was compiled to other workers."""
        self.started = True
        if self.kept and not self.complete:
            self.complete = True
            self.kept.write(self.codes)


class Kept:
    """The compiled package, in a file: the first worker of a kennel compiles it, later ones find it.

    Compiling takes longer than all the rest between a worker's death and its successor's first answer.
    """

    def __init__(self, folder, module):
        file = os.stat(module)
        # What the code depends on: another interpreter, or another build of the module, has a file of its own.
        parts = (sys.implementation.cache_tag, importlib.util.MAGIC_NUMBER.hex(), sys.flags.optimize)
        name = "-".join(str(part) for part in ("code", *parts, file.st_size, file.st_mtime_ns))
        self.path = os.path.join(folder, name)

    def read(self):
        try:
            with open(self.path, "rb") as file:
                codes = marshal.load(file)
        except (OSError, EOFError, ValueError, TypeError):
            return {}
        return codes if isinstance(codes, dict) else {}

    def write(self, codes):
        ours = f"{self.path}.{os.getpid()}"
        try:
            # For this user alone, whatever the umask.
            made = os.open(ours, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(made, "wb") as file:
                marshal.dump(codes, file)
            os.replace(ours, self.path)
        except OSError:
            pass  # Then the next worker compiles it too.


def start():
    carried = None
    if len(sys.argv) > 1:
        module, *folder = sys.argv[1:]
        del sys.argv[1:]
        carried = Carried(module, Kept(folder[0], module) if folder else None)
        sys.meta_path.insert(0, carried)

    if "KENNEL_TEST" in os.environ:
        from kennel._testing.file import main
    else:
        from kennel._worker import main

    if carried:
        carried.keep()
    return main()


sys.exit(start())
