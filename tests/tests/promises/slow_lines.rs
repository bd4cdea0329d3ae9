use std::process::{Command, Stdio};
use std::time::Instant;
use tests::site::Site;
use tests::slow_network::{self, Line, SlowNetwork};

const SIZE: usize = 20_000_000;

const APP: &str = r#"
local text = ("x"):rep(20000000)
app:get("/file", function() return kennel.file("file.bin") end)
app:get("/whole", function() return text end)
"#;

/// Reads a response to its end and prints how many bytes its body has.
const READ: &str = "
import sys, urllib.request
with urllib.request.urlopen(sys.argv[1], timeout=60) as response:
    print(sum(len(part) for part in iter(lambda: response.read(65536), b'')))
";

/// Mongrel2 without flow control holds 16 messages for a client and drops it at the next one, so a large body is sent in
/// few messages.
#[test]
fn without_flow_control_large_bodies_reach_slow_clients_whole() {
    for mbit_per_s in [5.0, 20.0, 100.0] {
        let line = Line { delay_ms: 25.0, loss_percent: 0.1, mbit_per_s };
        let network = match SlowNetwork::new(line) {
            Ok(network) => network,
            Err(why) => {
                let test = "without_flow_control_large_bodies_reach_slow_clients_whole";
                return slow_network::say_not_run(test, &why);
            }
        };
        let plan = Site::plan(APP).file("file.bin", &"x".repeat(SIZE)).config("flow_control = false\n");
        let site = plan.in_network(&network).start();
        let begun = Instant::now();
        let read = |path: &str| {
            let mut command = Command::new("python3");
            let url = format!("http://{}:{}{path}", SlowNetwork::SERVER, site.port());
            command.args(["-c", READ, &url]);
            slow_network::inside(network.client_side(), &command)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("python3 can be started")
        };
        // Each has a share of the line.
        for (path, reader) in ["/file", "/whole"].map(|path| (path, read(path))) {
            let output = reader.wait_with_output().expect("it ends");
            let (got, problem) =
                (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            println!("{mbit_per_s} Mbit/s {path}: {} bytes after {:.1?}", got.trim(), begun.elapsed());
            assert_eq!(got.trim(), SIZE.to_string(), "{mbit_per_s} Mbit/s {path}: {problem}");
        }
    }
}
