use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use tests::command::{self, Finished};
use tests::folder::Folder;

/// What the script needs of a fresh system.
const TOOLS: [&str; 9] = ["sh", "sed", "head", "sort", "mktemp", "rm", "mkdir", "chmod", "cat"];

/// Notes what it is called with. As apt-get, it makes the commands of the packages that it is to install.
const APT_GET: &str = r#"#!/bin/sh
echo "apt-get $*" >>"$HOME/calls"
[ "$1" = install ] || exit 0
for package; do
	case $package in
	mongrel2-core) name=mongrel2 ;;
	g++) name=c++ ;;
	gcc) name=cc ;;
	*) name=$package ;;
	esac
	[ -e "$HOME/../bin/$name" ] || cp "$HOME/../stand-ins/$name" "$HOME/../bin/$name" 2>/dev/null ||
		ln -s /bin/true "$HOME/../bin/$name" 2>/dev/null || true
done
"#;

/// Writes an installer that makes a toolchain of this version in the home folder.
const CURL: &str = r#"#!/bin/sh
echo "curl $*" >>"$HOME/calls"
[ ! -e "$HOME/offline" ] || { echo "curl: (6) Could not resolve host" >&2; exit 6; }
while [ "$1" != --output ]; do shift; done
cat >"$2" <<'END'
echo "installer $*" >>"$HOME/calls"
mkdir -p "$HOME/.cargo/bin"
for name in cargo rustc; do
	printf '#!/bin/sh\necho "%s 1.95.0 (f2d3ce0bd 2026-03-21)"\n' $name >"$HOME/.cargo/bin/$name"
	chmod +x "$HOME/.cargo/bin/$name"
done
END
"#;

/// A system without anything, whose package lists have rustup or not.
fn fresh_system(has_rustup: bool) -> Folder {
    let folder = Folder::new();
    let bin = folder.path().join("bin");
    for name in ["bin", "home", "stand-ins"] {
        fs::create_dir(folder.path().join(name)).expect("a folder");
    }
    for tool in TOOLS.into_iter().chain(["cp", "ln"]) {
        let real = ["/bin", "/usr/bin"].map(|at| Path::new(at).join(tool));
        let real = real.iter().find(|path| path.exists()).expect("a system has it");
        symlink(real, bin.join(tool)).expect("a link");
    }
    folder.write_program("bin/apt-get", APT_GET);
    folder.write_program(
        "bin/apt-cache",
        if has_rustup { "#!/bin/sh\nexit 0\n" } else { "#!/bin/sh\nexit 100\n" },
    );
    folder.write_program("bin/id", "#!/bin/sh\necho 0\n");
    folder.write_program("stand-ins/curl", CURL);
    folder
}

fn install(folder: &Folder, arguments: &[&str]) -> Finished {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/install-missing");
    let mut command = Command::new("/bin/sh");
    command.arg(script).args(arguments).current_dir(folder.path()).env_clear();
    command.env("PATH", folder.path().join("bin")).env("HOME", folder.path().join("home"));
    command::finish(command, b"")
}

fn calls(folder: &Folder) -> String {
    fs::read_to_string(folder.path().join("home/calls")).unwrap_or_default()
}

#[test]
fn where_apt_has_no_rustup_rusts_own_installer_runs() {
    let folder = fresh_system(false);
    let finished = install(&folder, &[]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(finished.stdout.contains("running Rust's own installer, https://sh.rustup.rs"), "{finished:?}");
    let calls = calls(&folder);
    let installed = calls.lines().find(|line| line.contains("install -y")).expect("apt-get installs");
    assert!(
        ["mongrel2-core", "gcc", "make", "curl"].iter().all(|name| installed.contains(name)),
        "{installed}"
    );
    assert!(!installed.contains("g++") && !installed.contains("rustup"), "{installed}");
    assert!(calls.contains("installer -y"), "{calls}");

    let again = install(&folder, &[]);
    assert_eq!((again.code, again.stdout.as_str()), (Some(0), ""), "nothing is missing any more");
}

#[test]
fn an_installer_that_cannot_be_fetched_is_said_with_what_to_do() {
    let folder = fresh_system(false);
    folder.write("home/offline", "");
    let finished = install(&folder, &[]);
    assert_eq!(finished.code, Some(3), "{finished:?}");
    assert!(finished.stderr.contains("install Rust 1.89 or newer by hand"), "{finished:?}");
}

#[test]
fn where_apt_has_rustup_it_is_taken() {
    let folder = fresh_system(true);
    folder.write_program(
        "stand-ins/rustup",
        "#!/bin/sh\necho \"rustup $*\" >>\"$HOME/calls\"\nmkdir -p \"$HOME/.cargo/bin\"\nfor name in cargo rustc; do\n\
         printf '#!/bin/sh\\necho \"%s 1.95.0 (x)\"\\n' $name >\"$HOME/.cargo/bin/$name\"\n\
         chmod +x \"$HOME/.cargo/bin/$name\"\ndone\n",
    );
    let finished = install(&folder, &["test"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let calls = calls(&folder);
    assert!(calls.contains("rustup default stable") && !calls.contains("curl "), "{calls}");
    assert!(calls.contains(" g++"), "libzmq is built for the tests: {calls}");
}
