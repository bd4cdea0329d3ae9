use std::path::Path;
use tests::command;
use tests::process::{self, Signal};
use tests::site::{Plan, Site};
use tests::wait;
use tests::websocket::WebSocket;

/// A program that obeys its clients: a message that is JSON with `do` is done, for this connection unless it names
/// another one; of all others it tells in the log, and every opening and close is told there too.
const OBEDIENT: &str = r#"#!/usr/bin/perl
use strict; use warnings; use JSON::PP; $| = 1;
my $json = JSON::PP->new->utf8->canonical->allow_nonref;
sub put { print $json->encode($_[0]), "\n" }
put({ do => 'routes', routes => ['GET /die', 'POST /do'], channels => ['/ws/{room}'] });
while (my $line = <STDIN>) {
  my $event = $json->decode($line);
  my ($type, $conn) = @$event{qw(type conn)};
  if ($type eq 'request') {
    exit 1 if $event->{path} eq '/die';
    put($json->decode($event->{body}));
    put({ id => $event->{id} });
  } elsif ($type eq 'open') {
    print STDERR "open ", $json->encode([@$event{qw(params transport resumed data query)}]), "\n";
    put({ do => 'send', conn => $conn, data => $event->{resumed} ? 'again' : $conn });
  } elsif ($type eq 'close') {
    print STDERR "close ", $json->encode([@$event{qw(code reason)}]), "\n";
  } elsif (exists $event->{data_base64}) {
    put({ do => 'send', conn => $conn, data_base64 => $event->{data_base64} });
  } elsif ($event->{data} =~ /^\{/) {
    put({ conn => $conn, %{ $json->decode($event->{data}) } });
  } else {
    put({ do => 'send', conn => $conn, data => "got $event->{data}" });
  }
}
"#;

fn plan() -> Plan {
    Site::plan("").program("app", OBEDIENT).app("./app").workers(0).behind_warm()
}

/// A connection, and its name.
fn open(site: &Site, path: &str) -> (WebSocket, String) {
    let mut socket = site.websocket(path);
    let name = socket.read_text();
    (socket, name)
}

#[test]
fn the_life_of_a_connection_reaches_the_program_and_its_messages_the_client() {
    let site = plan().start();
    let (mut socket, name) = open(&site, "/ws/a%20b?q=1");
    assert!(!name.is_empty());
    site.log().expect(r#"open [{"room":"a b"},"websocket",false,null,"q=1"]"#);
    assert_eq!(socket.ask("h\u{fc}llo"), "got h\u{fc}llo");
    assert_eq!(socket.ask(r#"{"do":"send","data":{"a": [1,"x"]}}"#), r#"{"a":[1,"x"]}"#);
    socket.send_binary([0, 255, 10]);
    assert_eq!(socket.read_binary(), [0, 255, 10]);
    for number in 0..100 {
        socket.send(number.to_string());
    }
    for number in 0..100 {
        assert_eq!(socket.read_text(), format!("got {number}"));
    }
    socket.send(r#"{"do":"close","code":4001,"reason":"enough"}"#);
    assert_eq!(socket.read_close(), (4001, "enough".to_owned()));
    site.log().expect_exactly("close [4001,", 1);
    open(&site, "/ws/x").0.close(1000, "bye");
    site.log().expect(r#"close [1000,"bye"]"#);
    open(&site, "/ws/x").0.vanish();
    site.log().expect("close [1006,");
}

#[test]
fn rooms_reach_all_members_but_the_one_that_is_left_out() {
    let site = plan().start();
    let mut sockets: Vec<_> = (0..4).map(|_| open(&site, "/ws/x")).collect();
    for (socket, _) in &mut sockets {
        socket.send(r#"{"do":"join","room":"r"}"#);
        assert_eq!(socket.ask("joined"), "got joined");
    }
    let except = sockets[3].1.clone();
    sockets[0].0.send(format!(r#"{{"do":"publish","room":"r","data":"to all","except":"{except}"}}"#));
    for (socket, _) in &mut sockets[..3] {
        assert_eq!(socket.read_text(), "to all");
    }
    sockets[1].0.send(r#"{"do":"leave","room":"r"}"#);
    assert_eq!(sockets[1].0.ask("left"), "got left");
    sockets[0].0.send(r#"{"do":"publish","room":"r","data":{"n":1}}"#);
    for at in [0, 2, 3] {
        assert_eq!(sockets[at].0.read_text(), r#"{"n":1}"#);
    }
    assert_eq!(sockets[1].0.ask("still"), "got still");
    sockets[0].0.send(r#"{"do":"close","room":"r","code":4000}"#);
    for at in [0, 2, 3] {
        assert_eq!(sockets[at].0.read_close().0, 4000);
    }
    assert_eq!(sockets[1].0.ask("alone"), "got alone");
}

#[test]
fn a_request_reaches_a_connection_by_its_name() {
    let site = plan().start();
    let (mut socket, name) = open(&site, "/ws/x");
    let order = format!(r#"{{"do":"send","conn":"{name}","data":"from outside"}}"#);
    assert_eq!(site.send(tests::client::request("POST", "/do", &[], order.as_bytes())).status, 200);
    assert_eq!(socket.read_text(), "from outside");
    // Whoever is gone, or never was, gets nothing, and nobody minds.
    let order = br#"{"do":"send","conn":"nobody","data":"x"}"#;
    assert_eq!(site.send(tests::client::request("POST", "/do", &[], order)).status, 200);
    assert_eq!(socket.ask("well"), "got well");
}

/// What a new process of the program is told of a connection that another one had, however it came to that.
fn goes_on_after(what: impl Fn(&Site)) {
    let site = plan().start();
    let (mut socket, _) = open(&site, "/ws/x");
    let (mut other, _) = open(&site, "/ws/y");
    for socket in [&mut socket, &mut other] {
        socket.send(r#"{"do":"join","room":"r"}"#);
    }
    socket.send(r#"{"do":"data","data":{"name":"Ann"}}"#);
    assert_eq!(socket.ask("set"), "got set");
    assert_eq!(other.ask("in"), "got in");
    what(&site);
    site.log().expect(r#"open [{"room":"x"},"websocket",true,{"name":"Ann"},""]"#);
    assert_eq!((socket.read_text(), other.read_text()), ("again".to_owned(), "again".to_owned()));
    other.send(r#"{"do":"publish","room":"r","data":"still here"}"#);
    assert_eq!((socket.read_text(), other.read_text()), ("still here".to_owned(), "still here".to_owned()));
    assert_eq!(site.log().count("close ["), 0);
    socket.close(1000, "");
    site.log().expect("close [1000,");
}

#[test]
fn connections_survive_the_end_of_the_program() {
    goes_on_after(|site| assert_eq!(site.get("/die").status, 502));
}

#[test]
fn connections_survive_the_death_of_the_worker() {
    goes_on_after(|site| site.workers().into_iter().for_each(process::kill));
}

#[test]
fn connections_survive_a_reload() {
    goes_on_after(|site| {
        site.signal(Signal::HUP);
        site.log().expect("newest code is in charge");
    });
}

#[test]
fn connections_are_spread_over_the_processes_and_stay_with_theirs() {
    let program = OBEDIENT.replace("\"got $event->{data}\"", "\"$$\"");
    let site = Site::plan("")
        .program("app", &program)
        .config("[[app]]\nsource = \"./app\"\nprocesses = 3\n")
        .configured_apps()
        .behind_warm()
        .start();
    let worker = site.workers()[0];
    wait::until("3 processes run", || process::children(worker).len() == 3);
    let mut sockets: Vec<_> = (0..6).map(|_| open(&site, "/ws/x").0).collect();
    let mut first: Vec<_> = sockets.iter_mut().map(|socket| socket.ask("who")).collect();
    let second: Vec<_> = sockets.iter_mut().map(|socket| socket.ask("who")).collect();
    assert_eq!(first, second);
    first.sort();
    first.dedup();
    assert_eq!(first.len(), 3, "{first:?}");
}

#[test]
fn a_stop_closes_connections_and_the_program_hears_of_it() {
    let mut site = plan().start();
    let (mut socket, _) = open(&site, "/ws/x");
    site.signal(Signal::TERM);
    assert_eq!(socket.read_close().0, 1001);
    assert_eq!(site.exit_code(), Some(0));
    site.log().expect("close [1001,");
}

#[test]
fn the_chat_in_perl_talks() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/exec-perl");
    let checked = command::run(
        tests::folder::Folder::new().path(),
        ["check", &example.join("chat.pl").display().to_string()],
    );
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    let site = Site::plan("").app(&example.join("chat.pl").display().to_string()).workers(0).start();
    assert!(site.get("/").text().contains("A chat in Perl"));
    let mut ann = site.websocket("/chat?name=Ann");
    assert_eq!(ann.read_text(), r#"{"text":"welcome, Ann"}"#);
    let mut bob = site.websocket("/chat?name=Bob");
    assert_eq!(bob.read_text(), r#"{"text":"welcome, Bob"}"#);
    assert_eq!(ann.read_text(), r#"{"text":"Bob comes in"}"#);
    bob.send("hi");
    assert_eq!(
        (ann.read_text(), bob.read_text()),
        (r#"{"text":"Bob: hi"}"#.to_owned(), r#"{"text":"Bob: hi"}"#.to_owned())
    );
    site.workers().into_iter().flat_map(process::children).for_each(process::kill);
    wait::until("the next process knows them", || site.get("/who").text() == r#"{"here":["Ann","Bob"]}"#);
    bob.close(1000, "");
    assert_eq!(ann.read_text(), r#"{"text":"Bob leaves"}"#);
}
