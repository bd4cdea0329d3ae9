//! The table of handlers to measure. A new one is a new entry of [`SUBJECTS`].

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::request::Feed;
use crate::scratch::Scratch;

/// A handler to measure.
#[derive(Debug)]
pub(crate) struct Subject {
    /// What `--only` and the table call it.
    pub(crate) name: &'static str,
    /// Whether its body is the request's token. If not, its replies are told apart by their order.
    pub(crate) echoes: bool,
    /// What it is fed.
    pub(crate) feed: Feed,
    /// The most CPU that it may take per request, as a multiple of what `bare` takes.
    pub(crate) most: Option<Most>,
    kind: Kind,
}

/// Targets of one subject, as ratios to `bare` in the same round.
#[derive(Debug)]
pub(crate) struct Most {
    pub(crate) busy: f64,
    pub(crate) quiet: f64,
}

#[derive(Debug)]
enum Kind {
    /// `bare_handler` of this package.
    Bare,
    /// `pyzmq_handler.py` in the interpreter of `scripts/bench-python`.
    Pyzmq,
    /// `kennel run` with this script.
    Script { file: &'static str, text: &'static str },
    /// The same with two workers.
    TwoWorkers { file: &'static str, text: &'static str },
}

/// Two subjects of which one may take so many times as much CPU as the other, workers, hub and all, when busy.
pub(crate) struct Ratio {
    pub(crate) of: &'static str,
    pub(crate) to: &'static str,
    pub(crate) least: Option<f64>,
    pub(crate) most: Option<f64>,
}

/// A pair of subjects of which one must take less CPU in its workers.
pub(crate) struct Contrast {
    pub(crate) cheap: &'static str,
    pub(crate) dear: &'static str,
    /// How many times as much the dear one must take at least.
    pub(crate) least: f64,
}

/// Reading no header must not pay for headers.
pub(crate) const CONTRASTS: [Contrast; 1] = [Contrast { cheap: "lua-none", dear: "lua-all", least: 2.0 }];

/// The yardstick comes first, so that it is measured right before the others in each round.
pub(crate) static SUBJECTS: [Subject; 14] = [
    Subject { name: "bare", echoes: true, feed: Feed::Requests, most: None, kind: Kind::Bare },
    Subject {
        name: "lua",
        echoes: true,
        feed: Feed::Requests,
        most: Some(Most { busy: 2.0, quiet: 1.5 }),
        kind: Kind::Script {
            file: "hello.lua",
            text: r#"
local kennel = require "kennel"
local app = kennel.app()
app:get("/", function(req) return req.headers["x-seq"] end)
return app
"#,
        },
    },
    Subject {
        name: "lua-none",
        echoes: false,
        feed: Feed::Requests,
        most: None,
        kind: Kind::Script {
            file: "none.lua",
            text: r#"
local kennel = require "kennel"
local app = kennel.app()
app:get("/", function(req) return "0000000000" end)
return app
"#,
        },
    },
    Subject {
        name: "lua-all",
        echoes: true,
        feed: Feed::Requests,
        most: None,
        kind: Kind::Script {
            file: "all.lua",
            text: r#"
local kennel = require "kennel"
local app = kennel.app()
app:get("/", function(req)
  local token
  for name, value in req.headers:pairs() do
    if name == "x-seq" then token = value end
  end
  return token
end)
return app
"#,
        },
    },
    Subject { name: "bare-echo", echoes: true, feed: Feed::Frames, most: None, kind: Kind::Bare },
    Subject {
        name: "lua-echo",
        echoes: true,
        feed: Feed::Frames,
        most: None,
        kind: Kind::Script {
            file: "echo.lua",
            text: r#"
local kennel = require "kennel"
local app = kennel.app()
app:channel("/", { ping = 0 }, { message = function(conn, msg) conn:send(msg) end })
return app
"#,
        },
    },
    Subject {
        name: "python",
        echoes: true,
        feed: Feed::Requests,
        most: Some(Most { busy: 2.5, quiet: 1.8 }),
        kind: Kind::Script {
            file: "hello.py",
            text: r#"
import kennel

app = kennel.App()

@app.get("/")
def hello(req):
    return req.headers["x-seq"]
"#,
        },
    },
    Subject {
        name: "python-async",
        echoes: true,
        feed: Feed::Requests,
        most: None,
        kind: Kind::Script {
            file: "hello_async.py",
            text: r#"
import kennel

app = kennel.App()

@app.get("/")
async def hello(req):
    return req.headers["x-seq"]
"#,
        },
    },
    Subject {
        name: "python-asgi",
        echoes: true,
        feed: Feed::Requests,
        most: None,
        kind: Kind::Script {
            file: "hello_asgi.py",
            text: r#"
HEADERS = [(b"content-type", b"text/plain")]

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("http alone is served here")
    token = next(value for name, value in scope["headers"] if name == b"x-seq")
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": token})
"#,
        },
    },
    Subject {
        name: "python-wsgi",
        echoes: true,
        feed: Feed::Requests,
        most: None,
        kind: Kind::Script {
            file: "hello_wsgi.py",
            text: r#"
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["HTTP_X_SEQ"].encode()]
"#,
        },
    },
    Subject {
        name: "python-echo",
        echoes: true,
        feed: Feed::Frames,
        most: None,
        kind: Kind::Script {
            file: "echo.py",
            text: r#"
import kennel

app = kennel.App()

@app.channel("/", ping=0)
class Echo:
    def message(self, conn, msg):
        conn.send(msg)
"#,
        },
    },
    Subject {
        name: "python-work",
        echoes: true,
        feed: Feed::Requests,
        most: None,
        kind: Kind::Script { file: "work.py", text: WORK },
    },
    Subject {
        name: "python-work-2",
        echoes: true,
        feed: Feed::Requests,
        most: None,
        kind: Kind::TwoWorkers { file: "work2.py", text: WORK },
    },
    Subject { name: "pyzmq", echoes: true, feed: Feed::JsonRequests, most: None, kind: Kind::Pyzmq },
];

/// A handler that computes for about a fifth of a millisecond, so that hub and feeder hardly count beside it.
const WORK: &str = r#"
import kennel

app = kennel.App()

@app.get("/")
def work(req):
    total = 0
    for number in range(5000):
        total += number * number
    return req.headers["x-seq"]
"#;

/// Two workers on two cores, and how many times as many answers they must give as one.
pub(crate) struct Speedup {
    pub(crate) one: &'static str,
    pub(crate) many: &'static str,
    pub(crate) least: f64,
}

pub(crate) const SPEEDUPS: [Speedup; 1] = [Speedup { one: "python-work", many: "python-work-2", least: 1.7 }];

/// What costs how many times as much as what, in CPU of all processes when busy: what must not be dearer, and by how much.
pub(crate) const RATIOS: [Ratio; 2] = [
    Ratio { of: "pyzmq", to: "python", least: Some(3.0), most: None },
    Ratio { of: "python-async", to: "python", least: None, most: Some(1.5) },
];

impl Subject {
    /// Whether the others are measured as a ratio to this one.
    pub(crate) fn is_yardstick(&self) -> bool {
        matches!(self.kind, Kind::Bare) && self.feed == Feed::Requests
    }

    /// Whether it is Kennel, which must lose nothing. What is on a PUB socket may.
    pub(crate) fn is_kennel(&self) -> bool {
        matches!(self.kind, Kind::Script { .. } | Kind::TwoWorkers { .. })
    }

    /// The program to start.
    ///
    /// # Errors
    ///
    /// When there is no such file, a sentence that says what to do about it.
    pub(crate) fn program(&self) -> Result<PathBuf, String> {
        match self.kind {
            Kind::Bare => Ok(PathBuf::from(env!("CARGO_BIN_EXE_bare_handler"))),
            Kind::Pyzmq => bench_python(),
            Kind::Script { .. } | Kind::TwoWorkers { .. } => kennel(),
        }
    }

    /// The arguments to start it with; writes its script into `scratch`. `reply_bytes` is only for `bare`.
    pub(crate) fn arguments(
        &self,
        send_spec: &str,
        recv_spec: &str,
        scratch: &Scratch,
        reply_bytes: usize,
    ) -> Result<Vec<OsString>, String> {
        Ok(match self.kind {
            Kind::Bare => vec![send_spec.into(), recv_spec.into(), reply_bytes.to_string().into()],
            Kind::Pyzmq => {
                let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/whole_way/pyzmq_handler.py");
                vec![script.into(), send_spec.into(), recv_spec.into()]
            }
            Kind::Script { file, text } | Kind::TwoWorkers { file, text } => {
                let script = scratch.write(file, text)?;
                let workers = if matches!(self.kind, Kind::TwoWorkers { .. }) { "2" } else { "1" };
                let flags = ["run", "--send-spec", send_spec, "--recv-spec", recv_spec, "--workers", workers];
                flags.into_iter().map(OsString::from).chain([script.into()]).collect()
            }
        })
    }
}

/// The subjects of these names (all of them if there are none), and always the yardstick.
///
/// # Errors
///
/// A sentence about a name that is not in the table.
pub(crate) fn select(names: &[String]) -> Result<Vec<&'static Subject>, String> {
    for name in names {
        if SUBJECTS.iter().all(|subject| subject.name != name) {
            let known: Vec<_> = SUBJECTS.iter().map(|subject| subject.name).collect();
            return Err(format!("there is no subject `{name}`; there are {}", known.join(", ")));
        }
    }
    let wanted = |subject: &&Subject| {
        names.is_empty() || subject.is_yardstick() || names.iter().any(|name| name == subject.name)
    };
    Ok(SUBJECTS.iter().filter(wanted).collect())
}

/// The interpreter with the packages that benchmarks need.
fn bench_python() -> Result<PathBuf, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench-python/bin/python");
    match path.is_file() {
        true => Ok(path),
        false => Err(format!("there is no {}\n       scripts/bench-python makes it", path.display())),
    }
}

/// Finds the `kennel` program: `KENNEL_BIN`, or the one that cargo built for the profile of this benchmark.
fn kennel() -> Result<PathBuf, String> {
    let path = match std::env::var_os("KENNEL_BIN") {
        Some(path) => PathBuf::from(path),
        None => {
            let benchmark =
                std::env::current_exe().map_err(|error| format!("no current program: {error}"))?;
            // target/release/deps/whole_way-HASH
            let profile = benchmark.parent().and_then(Path::parent).unwrap_or(Path::new("."));
            profile.join("kennel")
        }
    };
    // Absolute, because the handler starts in another directory.
    let path = std::path::absolute(&path).unwrap_or(path);
    if path.is_file() {
        Ok(path)
    } else {
        Err(format!(
            "there is no `kennel` program at {}\n       build it with `cargo build --release -p kennel`, or name one in KENNEL_BIN",
            path.display()
        ))
    }
}
