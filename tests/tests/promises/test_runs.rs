use std::path::Path;
use std::process::Command;
use tests::command::{self, Finished};
use tests::folder::Folder;
use tests::server::NO_MONGREL2;

/// Stands for cargo: prints what cargo and libtest print. Its tests fail as often as the file of their name says.
const CARGO: &str = r#"#!/bin/sh
fails() { # TEST
	[ -s "$1" ] || return 1
	sed -i 1d "$1"
}
libtest() { # TARGET NAME...
	target=$1
	shift
	names="" passed=0
	[ -z "$only" ] || set -- "$only"
	echo "     Running $target (target/debug/deps/x-1)" >&2
	printf '\nrunning %d tests\n' $#
	for name in "$@"; do
		if fails "$name"; then
			names="$names $name"
			echo "test $name ... FAILED <1.500s>"
		else
			passed=$((passed + 1))
			echo "test $name ... ok <0.250s>"
		fi
	done
	[ ! -s aborts ] || { failed="$failed $target"; return; }
	if [ -n "$names" ]; then
		printf '\nfailures:\n\n---- output ----\npanicked\n    not::a::name\n\n\nfailures:\n'
		printf '    %s\n' $names
		printf '\ntest result: FAILED. %d passed; 1 failed; 0 ignored\n\n' $passed
		failed="$failed $target"
	else
		printf '\ntest result: ok. %d passed; 0 failed; 0 ignored\n\n' $passed
	fi
}
echo "$*" >>calls
[ ! -s skips ] || echo one::real >>"$KENNEL_TEST_SKIPPED"
only=${*##*--exact} failed=""
[ "$only" != "$*" ] || only=""
only=${only# }
[ ! -s does_not_build ] || { echo 'error: could not compile `x`' >&2; exit 101; }
case "$*" in
*--doc*) exit 0 ;;
*--exact*) libtest "$only" "$only" ;;
*'--test chaos'*) libtest tests/four.rs four::behind ;;
*--skip*) libtest tests/three.rs three::collected ;;
*--bench*) ! fails bench || exit 1 ;;
*)
	libtest tests/one.rs one::fine one::shaky
	libtest tests/two.rs two::fine two::broken
	echo "     Running benches/bench.rs (target/debug/deps/x-1)" >&2
	! fails bench || failed="$failed benches/bench.rs"
	;;
esac
[ -n "$failed" ] || exit 0
{
	echo "error: some targets failed:"
	for target in $failed; do
		name=$(basename "$target" .rs) kind=$(basename "$(dirname "$target")")
		[ "$kind" != benches ] || kind=benchs
		echo "    \`-p x --${kind%s} $name\`"
	done
} >&2
exit 101
"#;

/// Runs the tests of a workspace in which these tests fail so often, on a machine with a Mongrel2.
fn run_tests(failing: &[(&str, usize)], arguments: &[&str]) -> (Finished, String) {
    run_tests_on(true, failing, arguments)
}

fn run_tests_on(has_mongrel2: bool, failing: &[(&str, usize)], arguments: &[&str]) -> (Finished, String) {
    let folder = Folder::new();
    folder.write_program("bin/cargo", CARGO);
    folder.write_program("bin/mongrel2", "#!/bin/sh\n");
    for (name, times) in failing {
        folder.write(name, "once more\n".repeat(*times));
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/run-tests");
    let path = std::env::var("PATH").expect("there is a PATH");
    let mut command = Command::new(script);
    command.args(arguments).current_dir(folder.path());
    command.env("PATH", format!("{}:{path}", folder.path().join("bin").display()));
    command.env(NO_MONGREL2, if has_mongrel2 { "" } else { "1" });
    let finished = command::finish(command, b"");
    let calls = std::fs::read_to_string(folder.path().join("calls")).expect("cargo was called");
    (finished, calls)
}

/// The lines behind the list of the slowest tests.
fn verdict(finished: &Finished) -> Vec<&str> {
    let lines: Vec<_> = finished.stdout.trim_end().lines().collect();
    let verdicts = ["flaky: ", "failed: ", "red: "];
    let is_verdict = |line: &&&str| verdicts.iter().any(|verdict| line.starts_with(verdict));
    let count = lines.iter().rev().take_while(is_verdict).count();
    lines[lines.len() - count..].to_vec()
}

#[test]
fn a_green_run_names_its_slowest_tests() {
    for arguments in [&[][..], &["--retry"]] {
        let (finished, calls) = run_tests(&[], arguments);
        assert_eq!((finished.code, verdict(&finished)), (Some(0), vec![]), "{}", finished.stdout);
        assert!(
            finished.stdout.contains("6 slowest tests:\n    0.25 s  four::behind\n"),
            "{}",
            finished.stdout
        );
        assert_eq!(calls.lines().count(), 4, "{calls}");
    }
}

#[test]
fn a_test_that_passes_alone_is_flaky_and_the_run_is_green_where_that_is_forgiven() {
    let failing = [("one::shaky", 1), ("two::broken", 1), ("bench", 1)];
    let (finished, calls) = run_tests(&failing, &["--retry"]);
    let expected = vec!["flaky: one::shaky", "flaky: two::broken", "flaky: bench"];
    assert_eq!((finished.code, verdict(&finished)), (Some(0), expected), "{}", finished.stdout);
    let again: Vec<_> = calls.lines().skip(4).collect();
    assert_eq!(again.len(), 3, "each once: {calls}");
    assert!(again[0].ends_with("--test one -- --exact one::shaky"), "{calls}");
    assert!(again[2].ends_with("--bench bench"), "{calls}");

    let (finished, calls) = run_tests(&failing, &[]);
    let expected = vec!["failed: one::shaky", "failed: two::broken", "failed: bench"];
    assert_eq!((finished.code, verdict(&finished)), (Some(1), expected), "{}", finished.stdout);
    assert_eq!(calls.lines().count(), 4, "{calls}");
}

#[test]
fn a_test_that_fails_twice_is_red() {
    let (finished, _) = run_tests(&[("one::shaky", 1), ("two::broken", 2)], &["--retry"]);
    let expected = vec!["flaky: one::shaky", "failed: two::broken"];
    assert_eq!((finished.code, verdict(&finished)), (Some(1), expected), "{}", finished.stdout);
}

#[test]
fn what_is_not_a_tests_failure_is_red_at_once() {
    for problem in ["does_not_build", "aborts"] {
        let (finished, calls) = run_tests(&[(problem, 1), ("one::shaky", 1)], &["--retry"]);
        let expected = vec!["red: cargo test failed, and not by a test"];
        assert_eq!((finished.code, verdict(&finished)), (Some(1), expected), "{}", finished.stdout);
        assert_eq!(calls.lines().count(), 4, "{calls}");
    }
}

#[test]
fn what_needs_a_mongrel2_is_left_out_and_named_only_where_there_is_none() {
    let (finished, calls) = run_tests_on(false, &[("skips", 1)], &[]);
    assert_eq!(finished.code, Some(0), "{}", finished.stdout);
    let told = "skipped, since there is no mongrel2: 1 tests\n  one::real\n";
    assert!(finished.stdout.contains(told), "{}", finished.stdout);
    assert_eq!(calls.lines().count(), 3, "{calls}");

    let (finished, _) = run_tests(&[("skips", 1)], &[]);
    let expected = vec!["red: this machine can have a mongrel2; run: scripts/install-missing test"];
    assert_eq!((finished.code, verdict(&finished)), (Some(1), expected), "{}", finished.stdout);
}
