//! Full TLS handshakes, by `openssl s_time`, in turns with nginx. The server's CPU for each counts: a second of it holds
//! what one core can do.

use super::aim::{Aims, median};
use super::servers::Running;
use std::process::Command;
use tests::folder::Folder;

const ROUNDS: usize = 5;
const SECONDS: &str = "2";

fn openssl(folder: &Folder, arguments: &str) -> String {
    let output = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(folder.path())
        .output()
        .expect("this part needs openssl");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Handshakes a second of CPU.
fn shake(server: &Running, folder: &Folder, version: &str) -> f64 {
    let before = server.on_cpu();
    let text = openssl(
        folder,
        &format!("s_time -new {version} -time {SECONDS} -connect 127.0.0.1:{}", server.port()),
    );
    let count =
        text.lines().find_map(|line| line.split_once(" connections in ")?.0.trim().parse::<f64>().ok());
    let count = count.filter(|count| *count > 0.0).expect("s_time says how many");
    // `-time` counts seconds of the client's CPU or of the clock, so only the number of connections is used.
    count / (server.on_cpu() - before).as_secs_f64()
}

pub(super) fn run(aims: &mut Aims) {
    let folder = Folder::new();
    openssl(
        &folder,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out cert.pem -days 30 \
         -subj /CN=localhost -addext subjectAltName=DNS:localhost",
    );
    let servers: Vec<Running> =
        [Some(Running::front(&folder, true)), Running::nginx(&folder, true)].into_iter().flatten().collect();
    for (name, version) in [("1.3", "-tls1_3"), ("1.2", "-tls1_2")] {
        let mut rates = vec![Vec::new(); servers.len()];
        for _ in 0..ROUNDS {
            for (rates, server) in rates.iter_mut().zip(&servers) {
                rates.push(shake(server, &folder, version));
            }
        }
        let rates: Vec<f64> = rates.into_iter().map(median).collect();
        for (server, rate) in servers.iter().zip(&rates) {
            println!("  {}, TLS {name}: {rate:.0} handshakes a second of CPU", server.name);
        }
        if let [front, nginx] = rates[..] {
            aims.at_least(&format!("TLS {name} handshakes, times nginx's"), front / nginx, 0.9);
        }
    }
}
