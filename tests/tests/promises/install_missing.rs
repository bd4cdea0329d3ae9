use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use tests::command::{self, Finished};
use tests::folder::Folder;

/// What the script needs of a fresh system.
const TOOLS: [&str; 10] = ["sh", "sed", "head", "sort", "mktemp", "rm", "mkdir", "chmod", "cat", "env"];

/// Notes what it is called with. As apt-get, it makes the commands of the packages that it is to install.
const APT_GET: &str = r#"#!/bin/sh
echo "apt-get $*" >>"$HOME/calls"
[ "$1" != update ] || : >"$HOME/lists"
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

/// Knows the packages that `$HOME/packages` names, once apt-get has read the lists.
const APT_CACHE: &str = r#"#!/bin/sh
[ -e "$HOME/lists" ] || exit 0
[ -n "${2:-}" ] || echo " 500 http://deb.debian.org/debian stable/main amd64 Packages"
case " $(cat "$HOME/packages") " in
*" ${2:-none} "*) printf '%s:\n  Installed: (none)\n  Candidate: 1.0\n' "$2" ;;
esac
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

/// A system without anything, whose package lists have these packages among others.
fn fresh_system(packages: &[&str]) -> Folder {
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
    folder.write_program("bin/apt-cache", APT_CACHE);
    folder.write("home/packages", packages.join(" "));
    folder.write_program("bin/id", "#!/bin/sh\necho 0\n");
    folder.write_program("stand-ins/curl", CURL);
    folder
}

fn install(folder: &Folder, arguments: &[&str]) -> Finished {
    install_with(folder, arguments, &[])
}

fn install_with(folder: &Folder, arguments: &[&str], variables: &[(&str, &str)]) -> Finished {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/install-missing");
    let mut command = Command::new("/bin/sh");
    command.arg(script).args(arguments).current_dir(folder.path()).env_clear();
    command.env("PATH", folder.path().join("bin")).env("HOME", folder.path().join("home"));
    command.envs(variables.iter().copied());
    command::finish(command, b"")
}

/// The packages that apt-get was asked to install, each between blanks.
fn installed(folder: &Folder) -> String {
    let calls = calls(folder);
    calls.lines().find(|line| line.contains("install -y")).map(|line| format!("{line} ")).unwrap_or_default()
}

fn calls(folder: &Folder) -> String {
    fs::read_to_string(folder.path().join("home/calls")).unwrap_or_default()
}

#[test]
fn where_apt_has_no_rustup_rusts_own_installer_runs() {
    let folder = fresh_system(&["mongrel2-core"]);
    let finished = install(&folder, &[]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(finished.stdout.contains("running Rust's own installer, https://sh.rustup.rs"), "{finished:?}");
    let (calls, installed) = (calls(&folder), installed(&folder));
    assert!(
        ["gcc", "make", "curl"].iter().all(|name| installed.contains(&format!(" {name} "))),
        "{installed}"
    );
    assert!(["g++", "rustup", "mongrel2"].iter().all(|name| !installed.contains(name)), "{installed}");
    assert!(calls.contains("installer -y"), "{calls}");

    let again = install(&folder, &[]);
    assert_eq!((again.code, again.stdout.as_str()), (Some(0), ""), "nothing is missing any more");
}

#[test]
fn an_installer_that_cannot_be_fetched_is_said_with_what_to_do() {
    let folder = fresh_system(&[]);
    folder.write("home/offline", "");
    let finished = install(&folder, &[]);
    assert_eq!(finished.code, Some(3), "{finished:?}");
    assert!(finished.stderr.contains("install Rust 1.89 or newer by hand"), "{finished:?}");
}

/// Its package has a stand-in.
fn with_rustup(folder: &Folder) {
    folder.write_program(
        "stand-ins/rustup",
        "#!/bin/sh\necho \"rustup $*\" >>\"$HOME/calls\"\nmkdir -p \"$HOME/.cargo/bin\"\nfor name in cargo rustc; do\n\
         printf '#!/bin/sh\\necho \"%s 1.95.0 (x)\"\\n' $name >\"$HOME/.cargo/bin/$name\"\n\
         chmod +x \"$HOME/.cargo/bin/$name\"\ndone\n",
    );
}

#[test]
fn where_apt_has_rustup_it_is_taken() {
    let folder = fresh_system(&["rustup"]);
    with_rustup(&folder);
    let finished = install(&folder, &["test"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let calls = calls(&folder);
    assert!(calls.contains("rustup default stable") && !calls.contains("curl "), "{calls}");
    assert!(calls.contains(" g++"), "libzmq is built for the tests: {calls}");
}

#[test]
fn the_tests_get_a_mongrel2_where_apt_has_one_and_go_on_without_where_it_has_none() {
    let folder = fresh_system(&["rustup", "mongrel2-core"]);
    with_rustup(&folder);
    let finished = install(&folder, &["test"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(installed(&folder).contains(" mongrel2-core "), "{finished:?}");
    assert!(!finished.stdout.contains("left out"), "{finished:?}");

    let folder = fresh_system(&["rustup"]);
    with_rustup(&folder);
    for attempt in 0..2 {
        let finished = install(&folder, &["test"]);
        assert_eq!(finished.code, Some(0), "{finished:?}");
        let words = "this system has no package mongrel2-core: what needs a real Mongrel2 is left out";
        assert!(finished.stdout.contains(words), "attempt {attempt}: {finished:?}");
    }
    let installed = installed(&folder);
    assert!(installed.contains(" g++ ") && !installed.contains("mongrel2"), "{installed}");
}

#[test]
fn a_demo_behind_mongrel2_installs_it_or_says_that_there_is_none() {
    let folder = fresh_system(&["rustup", "mongrel2-core"]);
    with_rustup(&folder);
    let finished = install_with(&folder, &[], &[("FRONT", "mongrel2")]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(installed(&folder).contains(" mongrel2-core "), "{finished:?}");

    let folder = fresh_system(&["rustup"]);
    let finished = install_with(&folder, &[], &[("FRONT", "mongrel2")]);
    assert_eq!(finished.code, Some(3), "{finished:?}");
    assert!(finished.stderr.contains("leave out FRONT=mongrel2"), "{finished:?}");
}

#[test]
fn one_variable_makes_a_system_one_without_mongrel2() {
    let folder = fresh_system(&["rustup", "mongrel2-core"]);
    with_rustup(&folder);
    // It is installed, too.
    symlink("/bin/true", folder.path().join("bin/mongrel2")).expect("a link");
    let without = [("KENNEL_NO_MONGREL2", "1")];
    let finished = install_with(&folder, &["test"], &without);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(finished.stdout.contains("what needs a real Mongrel2 is left out"), "{finished:?}");
    assert!(!installed(&folder).contains("mongrel2"), "{finished:?}");
    let finished = install_with(&folder, &[], &[without[0], ("FRONT", "mongrel2")]);
    assert_eq!(finished.code, Some(3), "{finished:?}");
    // Without the variable nothing is wanted of it.
    assert_eq!(install_with(&folder, &[], &[("FRONT", "mongrel2")]).code, Some(0));
}
