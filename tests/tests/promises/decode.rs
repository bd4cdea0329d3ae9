use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};
use std::path::PathBuf;
use tests::command::{self, Finished};
use tests::folder::Folder;

fn captures() -> (PathBuf, Vec<Value>) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../mongrel2-wire/fixtures/captures");
    let text = std::fs::read(folder.join("index.json")).expect("the captures' index");
    let index: Value = serde_json::from_slice(&text).expect("an index in JSON");
    let captures = index["captures"].as_array().expect("a list of captures").clone();
    assert_eq!(captures.len(), 231);
    (folder, captures)
}

fn lines(finished: &Finished) -> Vec<Value> {
    let line = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    finished.stdout.lines().map(line).collect()
}

fn compare(got: &Value, entry: &Value) {
    let (file, expect) = (&entry["file"], &entry["expect"]);
    assert_eq!(got["sender"], expect["uuid"], "{file}");
    assert_eq!(got["conn_id"], expect["conn_id"], "{file}");
    assert_eq!(got["path"], expect["path"], "{file}");
    assert_eq!(got["protocol"], entry["protocol"], "{file}");
    assert_eq!(got["headers"], expect["headers"], "{file}");
    assert_eq!(got["latin1_headers"], expect["latin1_headers"], "{file}");
    let body = BASE64_STANDARD.decode(got["body_base64"].as_str().expect("a body")).expect("base64");
    assert_eq!(body.len(), expect["body_len"], "{file}");
    if let Some(expected) = expect["body_b64"].as_str() {
        assert_eq!(got["body_base64"], expected, "{file}");
    }
    let order: Vec<_> = got["headers"].as_object().expect("headers").keys().cloned().collect();
    assert_eq!(json!(order), expect["header_order"], "{file}: headers in their order");
}

#[test]
fn every_captured_message_is_shown_as_its_index_says() {
    let (folder, captures) = captures();
    let files: Vec<&str> = captures.iter().map(|entry| entry["file"].as_str().expect("a name")).collect();
    let finished = command::run(&folder, [&["decode"], &files[..]].concat());
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
    let shown = lines(&finished);
    assert_eq!(shown.len(), captures.len(), "one line a message");
    for (got, entry) in shown.iter().zip(&captures) {
        compare(got, entry);
    }
}

#[test]
fn messages_in_a_row_on_standard_input_are_shown_too() {
    let (folder, captures) = captures();
    let some: Vec<&Value> = captures.iter().step_by(10).collect();
    let mut input = Vec::new();
    for entry in &some {
        input.extend(std::fs::read(folder.join(entry["file"].as_str().expect("a name"))).expect("a capture"));
        input.push(b'\n');
    }
    let finished = command::finish(command::command(&folder, ["decode"]), &input);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    for (got, entry) in lines(&finished).iter().zip(&some) {
        compare(got, entry);
    }
}

#[test]
fn what_is_no_message_is_shown_with_its_offset_and_exit_code_1() {
    let folder = Folder::new();
    folder.write("bad.m2", "m2 1 / 5:{},");
    folder.write("forged.m2", r#"m2 1 / 38:{"METHOD":"JSON","VERSION":"HTTP/1.1"},0:,"#);
    let finished = command::run(folder.path(), ["decode", "bad.m2"]);
    assert_eq!(finished.code, Some(1));
    let shown = lines(&finished);
    assert!(shown[0]["error"].is_string() && shown[0]["offset"].is_u64(), "{shown:?}");
    let finished = command::run(folder.path(), ["decode", "forged.m2"]);
    assert_eq!(lines(&finished)[0]["kind"], "refused");
    assert!(lines(&finished)[0]["reason"].is_string());
    let finished = command::run(folder.path(), ["decode", "bad.m2", "forged.m2"]);
    assert_eq!((finished.code, lines(&finished).len()), (Some(1), 2), "the others are shown all the same");
    let finished = command::run(folder.path(), ["decode", "nowhere.m2"]);
    assert_eq!(finished.code, Some(2));
    assert!(finished.stderr.contains("nowhere.m2"), "{}", finished.stderr);
    assert!(!finished.stderr.contains("os error"), "{}", finished.stderr);
}
