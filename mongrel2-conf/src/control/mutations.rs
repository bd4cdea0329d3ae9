//! Answers of a real Mongrel2 with something changed by chance, and chance alone: a value or an error,
//! never a panic. `KENNEL_FUZZ_ROUNDS=1000` tries a thousand times as many.

use std::io::Write;
use std::net::Shutdown;
use std::time::Instant;

use fastrand::Rng;

use super::answer::Table;
use super::fake_port::{await_request, framed, opening, port};
use super::rows;
use super::*;

/// What Mongrel2 1.12 has said.
const ANSWERS: [&[u8]; 7] = [
    b"49:7:headers,7:4:time,]4:rows,18:14:10:1795290051,]]}",
    b"75:7:headers,7:4:uuid,]4:rows,44:40:36:34f9ceee-cd52-4b7f-b197-88bf2f0ec378,]]}",
    b"187:7:headers,86:2:id,2:fd,4:type,9:last_ping,9:last_read,10:last_write,10:bytes_read,13:bytes_written,]\
      4:rows,76:34:1:1#2:27#1:1#1:0#1:0#1:0#2:36#1:0#]34:1:2#2:28#1:2#1:0#1:0#1:0#2:36#1:0#]]}",
    b"40:7:headers,9:6:status,]4:rows,8:5:2:OK,]]}",
    b"59:7:headers,6:3:msg,]4:rows,29:25:21:signal sent to server,]]}",
    b"61:4:code,16:INVALID_ARGUMENT,5:error,22:Invalid argument type.,}",
    b"51:5:error,39:Expected argument what=['net'|'tasks'].,}",
];

fn rounds(usual: u64) -> u64 {
    let factor = std::env::var("KENNEL_FUZZ_ROUNDS").map_or(1, |text| text.parse().expect("a number"));
    usual * factor
}

fn mutated(chance: &mut Rng, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..chance.usize(0..4) {
        let at = chance.usize(0..=bytes.len());
        let end = (at + chance.usize(0..9)).min(bytes.len());
        match chance.u8(0..5) {
            0 => drop(bytes.drain(at..end)),
            1 => bytes.truncate(at),
            2 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
            _ if at < bytes.len() => bytes[at] = *chance.choice(b"0123456789:,#^!~]}\0\xff").unwrap(),
            _ => bytes.push(chance.u8(..)),
        }
    }
    bytes
}

#[test]
fn a_changed_answer_is_read_or_refused() {
    let (mut chance, address) = (Rng::with_seed(9), "ipc://run/control".parse().unwrap());
    let mut read = 0;
    for round in 0..rounds(5_000) {
        let answer = ANSWERS[chance.usize(0..ANSWERS.len())];
        let bytes = match round % 8 {
            0 => (0..chance.usize(0..60)).map(|_| chance.u8(..)).collect(),
            _ => mutated(&mut chance, answer),
        };
        let table = match Table::parse(&bytes, &address) {
            Ok(table) => table,
            Err(problem) => {
                assert!(!problem.to_string().is_empty());
                continue;
            }
        };
        read += 1;
        assert!(table.rows.iter().all(|row| row.len() == table.headers.len()));
        let problems = [
            NetRow::all(&table, &address).err(),
            TaskRow::all(&table, &address).err(),
            Info::read(&table, &address).err(),
            rows::time(&table, &address).err(),
            rows::only_text(&table, "status", &address).err(),
            rows::pairs(&table, "name", "help", &address).err(),
        ];
        assert!(problems.iter().flatten().all(|problem| !problem.to_string().is_empty()));
    }
    assert!(read > 500, "{read}: chance changes too much");
}

/// The whole of what a port says, greeting and frames too.
#[test]
fn a_port_that_stammers_is_an_error_in_time() {
    let mut chance = Rng::with_seed(10);
    for _ in 0..rounds(50) {
        let answer = framed(ANSWERS[chance.usize(0..ANSWERS.len())]);
        let (begins, says) = match chance.bool() {
            true => (mutated(&mut chance, &opening("REP")), answer),
            false => (opening("REP"), mutated(&mut chance, &answer)),
        };
        let is_sound = begins == opening("REP");
        let address = port(move |mut client| {
            let _ = client.write_all(&begins);
            if is_sound {
                await_request(&mut client);
            }
            let _ = client.write_all(&says);
            // Else it would be waited for until the last moment.
            let _ = client.shutdown(Shutdown::Both);
        });
        let begin = Instant::now();
        let _ = Control::new(address).time().map_err(|problem| problem.to_string());
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    }
}
