//! What can be typed.

pub(crate) mod conf;
mod front;
mod log;
pub(crate) mod usage;

pub(crate) use front::{Addresses, Front, FrontArgs, OwnFront, TlsFiles};
pub(crate) use log::{LogFormat, LogLevel};

use crate::language::Language;
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use handler_core::hub::{Affinity, HostPattern};
use std::path::PathBuf;

/// Serves web apps written in Lua or Python, so that no client notices when code crashes, hangs or is replaced.
#[derive(Debug, Parser)]
#[command(
    name = "kennel",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Args {
    /// Whether the command has `--json`.
    pub(crate) fn asks_for_json(&self) -> bool {
        match &self.command {
            Command::Check(args) => args.check.json,
            Command::Routes(args) => args.json,
            Command::Test(args) => args.json,
            Command::Console(args) => args.json,
            Command::Running(args) => args.json,
            Command::Ctl(args) => args.json,
            Command::Guard(args) => args.json,
            Command::Conf(command) => command.asks_for_json(),
            _ => false,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve apps
    #[command(after_help = "Examples:
  kennel run app.lua                           with a server of its own, on 127.0.0.1:6767
  kennel run app.py                            with the Python of .venv, or python3
  kennel run --threads 8 mysite.wsgi:application    a WSGI or ASGI application, by its module
  kennel run 'shop:create_app()'               one that a function makes
  kennel run --workers 4 --affinity cookie chat:app    one that keeps sessions in memory
  kennel run --listen 0.0.0.0:80 app.lua
  kennel run --listen 0.0.0.0:443 --tls cert.pem,key.pem app.lua    https
  kennel run --front mongrel2 app.lua          with a Mongrel2 instead of its own front
  kennel run site/                             every script in site/handlers, each at its name
  kennel run --send-spec tcp://127.0.0.1:9999 --recv-spec tcp://127.0.0.1:9998 app.lua
  kennel run --mongrel2 config.sqlite --route /chat app.lua    behind yours, found in its database
  kennel run                                   what kennel.toml says")]
    Run(Serve),
    /// Serve apps while you write them: reload on change, errors in the browser
    #[command(after_help = "Examples:
  kennel dev app.lua                           then open http://127.0.0.1:6767
  kennel dev site/                             every script in site/handlers
  kennel dev --listen 0.0.0.0:6767 --allow-host laptop.local app.lua    for a phone in this network")]
    Dev(Dev),
    /// Be a server that speaks Mongrel2's protocol, with Mongrel2's configuration
    #[command(
        long_about = "Serves HTTP, WebSockets and message sockets in the place of `mongrel2 CONFIG.sqlite UUID`: same \
        configuration, same messages for handlers, same control port.\n\n\
        Paths in the configuration count from the working directory. SIGHUP reads the configuration and the certificates \
        again and reopens the logs, SIGTERM and SIGINT stop. Filters, xrequests and Proxy routes are not supported; \
        `kennel check --front kennel --mongrel2 CONFIG.sqlite` names what a configuration has of them.",
        after_help = "Examples:
  kennel front config.sqlite                   the only server of the database
  kennel front config.sqlite main              by its name or uuid
  kennel front --log-format json /etc/mongrel2/config.sqlite main"
    )]
    Front(FrontArgs),
    /// Make an app to begin with: a page, a chat room and tests that pass
    #[command(after_help = "Examples:
  kennel new hello                             in Lua
  kennel new hello --lang python
  cd hello; kennel test; kennel dev")]
    New(New),
    /// Load everything, serve nothing: say what is wrong, all of it, and what is in force
    #[command(after_help = "Examples:
  kennel check app.lua
  kennel check site/                           every script in site/handlers
  kennel check --limits                        and the limits in force
  kennel check --strict                        warnings are errors, for a deployment
  kennel check --json                          what kennel.toml says, for machines
  kennel check --mongrel2 config.sqlite app.lua    and whether anything would arrive from there
  kennel check --front kennel --mongrel2 config.sqlite app.lua    and whether `kennel front` can serve it
  kennel check --tls cert.pem,key.pem app.lua    and until when the certificate is valid")]
    Check(CheckAll),
    /// Show what an app answers to
    #[command(after_help = "Examples:
  kennel routes app.lua
  kennel routes site/                          every script in site/handlers
  kennel routes --json app.lua | jq -r '.[].path'")]
    Routes(Check),
    /// Run an app's tests: no server, no waiting
    #[command(after_help = "Examples:
  kennel test                                  tests/ beside kennel.toml
  kennel test myapp                            those of the app in this folder
  kennel test tests/chat_test.lua -k lobby     tests of a file with `lobby` in their name
  kennel test --json | jq -r '.tests[] | select(.outcome == \"failed\") | .test'")]
    Test(Test),
    /// Show raw Mongrel2 messages as JSON, one line each
    #[command(after_help = "Examples:
  kennel decode message.m2
  cat *.m2 | kennel decode | jq .kind")]
    Decode {
        /// Files of one message, or several in a row; standard input if there is none
        files: Vec<PathBuf>,
    },
    /// Mongrel2's configuration: files and databases
    #[command(
        subcommand,
        arg_required_else_help = true,
        after_help = "Examples:
  kennel conf check site.conf
  kennel conf load site.conf                   makes config.sqlite
  kennel conf routes
  kennel conf diff site.conf                   what loading it again would change"
    )]
    Conf(conf::Conf),
    /// Load the newest code in a running kennel (as SIGHUP does), or let a Mongrel2 open its logs anew
    #[command(
        long_about = "Tells the kennel that runs in this directory to load the newest code, waits, and says what became of \
        it: a line for each app that has loaded. The exit code is 1 when an app did not load; what it ran before goes on. \
        SIGHUP does the same, without waiting.\n\n\
        With --db, --name, --host, --uuid or --every it is about a Mongrel2 of that database instead: it opens its \
        logs anew and forgets its certificates; it does not read its configuration again.",
        after_help = "Examples:
  kennel reload
  kennel reload --pid 4711
  kennel reload --name main                    the Mongrel2 of config.sqlite"
    )]
    Reload(Reload),
    /// Stop a running kennel when what runs is finished (as SIGTERM does), or stop a Mongrel2
    #[command(
        long_about = "Tells the kennel that runs in this directory to stop when what runs is finished, as SIGTERM \
        does, and waits for its end.\n\n\
        With --db, --name, --host, --uuid or --every it is about a Mongrel2 of that database instead: that gets \
        SIGINT (with --murder SIGTERM), and its end is waited for.",
        after_help = "Examples:
  kennel stop
  kennel stop --pid 4711
  kennel stop --name main                      the Mongrel2 of config.sqlite
  kennel stop --db /etc/mongrel2/config.sqlite --every"
    )]
    Stop(Stop),
    /// Start a Mongrel2 of a database
    #[command(after_help = "Examples:
  kennel start                                 the only server of config.sqlite
  kennel start --db /etc/mongrel2/config.sqlite --name main
  kennel start --every --sudo")]
    Start(Start),
    /// Say which Mongrel2 of a database runs; the exit code is 1 when one of them does not
    #[command(after_help = "Examples:
  kennel running                               all servers of config.sqlite
  kennel running --name main --json")]
    Running(Running),
    /// Ask a running Mongrel2 at its control port
    #[command(
        disable_help_subcommand = true,
        after_help = "Examples:
  kennel ctl status net                        the only server of config.sqlite
  kennel ctl info --db /etc/mongrel2/config.sqlite --name main
  kennel ctl time --every --json
  kennel ctl kill 17 --address ipc:///srv/site/run/control"
    )]
    Ctl(Ctl),
    /// Show the library that keeps Mongrel2 from writing one client's bytes to another, and how to preload it
    #[command(
        long_about = "Shows the library that keeps Mongrel2 from writing one client's bytes to another client, and how to \
        preload it.\n\n\
        When a client leaves while Mongrel2 writes to it, Mongrel2 may write the rest to the client that connects next. \
        The Mongrel2 that `kennel run` or `kennel start` starts has the library already; preload it into every other one.",
        after_help = "Examples:
  kennel guard
  LD_PRELOAD=$(kennel guard --path) mongrel2 config.sqlite UUID
  kennel guard --write /usr/local/lib/kennel/      puts the library there
  kennel check --mongrel2 config.sqlite            says whether a running Mongrel2 has it"
    )]
    Guard(Guard),
    /// Look into a running kennel and act on it: at a prompt, by a script on standard input, or one command
    #[command(after_help = "Examples:
  kennel console                               a prompt; `help` lists the commands
  kennel console -c 'connections room=lobby'   one command
  kennel console --json -c workers             for machines
  kennel console --socket site/run/chat -c stats    one handler of a directory
  echo 'broadcast room=lobby back soon' | kennel console")]
    Console(Console),
    /// Print a completion script for a shell
    #[command(after_help = "Examples:
  kennel completions bash > /etc/bash_completion.d/kennel")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Serve {
    /// Scripts (.lua, .py, .py:NAME), Python modules (MODULE:NAME, MODULE:NAME()) or a directory of handlers; the apps of
    /// kennel.toml if there is none
    #[arg(value_name = "APP")]
    pub(crate) apps: Vec<String>,
    /// Workers of each app [default: one per core; one for ASGI and WSGI apps, programs and each handler of a directory]
    #[arg(long, value_name = "N", env = "KENNEL_WORKERS", value_parser = up_to_256)]
    pub(crate) workers: Option<u32>,
    /// Keep what belongs together at one worker: `cookie` for each visitor, `query:NAME` for each value of a parameter
    #[arg(long, value_name = "cookie|query:NAME", env = "KENNEL_AFFINITY")]
    pub(crate) affinity: Option<Affinity>,
    #[command(flatten)]
    pub(crate) python: Python,
    #[command(flatten)]
    pub(crate) config: ConfigFile,
    #[command(flatten)]
    pub(crate) addresses: Addresses,
    /// Where `kennel console` connects to this process [default: .kennel/PID/console.sock]
    #[arg(long, value_name = "PATH", env = "KENNEL_CONSOLE")]
    pub(crate) console: Option<PathBuf>,
    /// Where metrics are read as Prometheus does, at http://ADDR:PORT/metrics [default: nowhere]
    #[arg(long, value_name = "ADDR:PORT", env = "KENNEL_METRICS")]
    pub(crate) metrics: Option<String>,
    /// Answer only requests for this host name; `*.NAME` for all names below it; repeat for several [default: any]
    #[arg(long, value_name = "NAME", env = "KENNEL_ONLY_HOST", value_delimiter = ',')]
    pub(crate) only_host: Vec<HostPattern>,
    #[command(flatten)]
    pub(crate) database: Database,
    /// How log lines are written
    #[arg(long, value_enum, default_value = "text", env = "KENNEL_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
    /// How much is logged
    #[arg(long, value_enum, default_value = "info", env = "KENNEL_LOG_LEVEL")]
    pub(crate) log_level: LogLevel,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Dev {
    #[command(flatten)]
    pub(crate) serve: Serve,
    /// Answer requests for this host name, too; `*.NAME` for all names below it. Addresses and names of this machine are
    /// always answered, others never, so that no foreign page can read this site
    #[arg(long, value_name = "NAME", env = "KENNEL_ALLOW_HOST", value_delimiter = ',')]
    pub(crate) allow_host: Vec<HostPattern>,
}

/// Where an existing Mongrel2's handler is found.
#[derive(Debug, Clone, Default, ClapArgs)]
pub(crate) struct Database {
    /// An existing Mongrel2's database, which says where its handler's sockets are
    #[arg(long, value_name = "CONFIG.sqlite", env = "KENNEL_MONGREL2")]
    pub(crate) mongrel2: Option<PathBuf>,
    /// Which server of that database, by name or uuid [default: the only one]
    #[arg(long, value_name = "NAME", env = "KENNEL_SERVER", requires = "mongrel2")]
    pub(crate) server: Option<String>,
    /// Which handler, by its send_ident [default: the only one]
    #[arg(
        long,
        value_name = "SEND_IDENT",
        env = "KENNEL_HANDLER",
        requires = "mongrel2",
        conflicts_with = "route"
    )]
    pub(crate) handler: Option<String>,
    /// Which handler, by a route that leads to it
    #[arg(long, value_name = "PATTERN", env = "KENNEL_ROUTE", requires = "mongrel2")]
    pub(crate) route: Option<String>,
    /// That Mongrel2's working directory [default: the database's folder]
    #[arg(long, value_name = "DIR", env = "KENNEL_WORKDIR", requires = "mongrel2")]
    pub(crate) workdir: Option<PathBuf>,
}

/// What concerns apps in Python alone.
#[derive(Debug, Clone, Default, ClapArgs)]
pub(crate) struct Python {
    /// The interpreter for Python apps [default: that of VIRTUAL_ENV, of .venv beside the app, or python3]
    #[arg(long, value_name = "PATH", env = "KENNEL_PYTHON")]
    pub(crate) python: Option<String>,
    /// What a Python app is [default: found out]
    #[arg(long, value_enum, env = "KENNEL_INTERFACE")]
    pub(crate) interface: Option<Interface>,
    /// What is named makes the app: call it, as `MODULE:NAME()` does [default name: create_app or make_app]
    #[arg(long, env = "KENNEL_FACTORY")]
    pub(crate) factory: bool,
    /// Threads of each Python worker, for handlers that block [default: 8 for WSGI, else none]
    #[arg(long, value_name = "N", env = "KENNEL_THREADS", value_parser = up_to_256)]
    pub(crate) threads: Option<u32>,
}

/// What Python applications come as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Interface {
    /// A kennel.App
    Kennel,
    /// An ASGI 3 application
    Asgi,
    /// A WSGI application (PEP 3333)
    Wsgi,
}

impl Interface {
    /// Its name, as typed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kennel => "kennel",
            Self::Asgi => "asgi",
            Self::Wsgi => "wsgi",
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ConfigFile {
    /// The settings file [default: that of a directory of handlers, or kennel.toml, if it is there]
    #[arg(long, value_name = "FILE", env = "KENNEL_CONFIG")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Check {
    /// Scripts (.lua, .py, .py:NAME), Python modules (MODULE:NAME, MODULE:NAME()) or a directory of handlers; the apps of
    /// kennel.toml if there is none
    #[arg(value_name = "APP")]
    pub(crate) apps: Vec<String>,
    #[command(flatten)]
    pub(crate) python: Python,
    #[command(flatten)]
    pub(crate) config: ConfigFile,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct New {
    /// The folder to make; one that is there must be empty
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// What the app is written in
    #[arg(long, value_enum, default_value = "lua")]
    pub(crate) lang: Lang,
}

/// What apps are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lang {
    Lua,
    Python,
}

impl From<Lang> for Language {
    fn from(lang: Lang) -> Self {
        match lang {
            Lang::Lua => Self::Lua,
            Lang::Python => Self::Python,
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Test {
    /// Files of tests, or folders that have some [default: this one]
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Run the tests, or files, with this in their name
    #[arg(short = 'k', value_name = "WORD")]
    pub(crate) keyword: Option<String>,
    /// How long a test may take, in real time
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) timeout: f64,
    /// The interpreter for tests in Python [default: that of VIRTUAL_ENV, of .venv beside the app, or python3]
    #[arg(long, value_name = "PATH", env = "KENNEL_PYTHON")]
    pub(crate) python: Option<String>,
    #[command(flatten)]
    pub(crate) config: ConfigFile,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A number of workers or threads.
fn up_to_256(typed: &str) -> Result<u32, String> {
    match typed.parse() {
        Ok(number @ 1..=256) => Ok(number),
        _ => Err("write a whole number from 1 to 256".to_owned()),
    }
}

/// A whole number.
pub(crate) fn whole<T: std::str::FromStr>(typed: &str) -> Result<T, String> {
    typed.parse().map_err(|_| "write a whole number".to_owned())
}

/// A time of a test's: more than none, and not for ever.
fn seconds(typed: &str) -> Result<f64, String> {
    match typed.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 86_400.0 => Ok(seconds),
        _ => Err("write a number of seconds above 0 and up to 86400".to_owned()),
    }
}

/// As [`Check`], and what may come from a Mongrel2.
#[derive(Debug, ClapArgs)]
pub(crate) struct CheckAll {
    #[command(flatten)]
    pub(crate) check: Check,
    /// Show all limits with their values
    #[arg(long)]
    pub(crate) limits: bool,
    /// Warnings are errors: exit with 2 if there is one
    #[arg(long)]
    pub(crate) strict: bool,
    #[command(flatten)]
    pub(crate) own: OwnFront,
    #[command(flatten)]
    pub(crate) database: Database,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Reload {
    #[command(flatten)]
    pub(crate) signal: Signal,
    #[command(flatten)]
    pub(crate) servers: Servers,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Stop {
    #[command(flatten)]
    pub(crate) signal: Signal,
    #[command(flatten)]
    pub(crate) servers: Servers,
    /// End the Mongrel2 with SIGTERM, at once
    #[arg(long, conflicts_with = "pid")]
    pub(crate) murder: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Start {
    #[command(flatten)]
    pub(crate) servers: Servers,
    /// Start it by sudo
    #[arg(long)]
    pub(crate) sudo: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Running {
    #[command(flatten)]
    pub(crate) servers: Servers,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Ctl {
    #[command(flatten)]
    pub(crate) servers: Servers,
    /// The control port itself, instead of a database: ipc://PATH or tcp://HOST:PORT
    #[arg(long, global = true, value_name = "SPEC", conflicts_with_all = ["db", "name", "host", "uuid", "every", "workdir"])]
    pub(crate) address: Option<String>,
    /// Print JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) request: CtlRequest,
}

/// What a control port can be asked.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum CtlRequest {
    /// List what runs: connections (net), or the server's own tasks
    Status {
        /// Of what
        what: CtlStatus,
    },
    /// Say which server this is, as it was configured
    Info,
    /// The server's clock, in seconds since 1970
    Time,
    /// The server's uuid
    Uuid,
    /// End a connection; its handler hears nothing of it
    Kill {
        /// Its id in `status net`, below 65536
        #[arg(value_parser = whole::<u32>)]
        id: u32,
    },
    /// End the server, as SIGINT does
    Stop,
    /// Open the logs anew, as SIGHUP does
    Reload,
    /// End the server at once, as SIGTERM does
    Terminate,
    /// Close the control port for as long as the server runs
    #[command(alias = "control_stop")]
    ControlStop,
    /// What the server says that it can be asked
    Help,
}

/// What the status is asked of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CtlStatus {
    /// The server's own tasks
    Tasks,
    /// Connections
    Net,
}

/// Which servers of which database, as m2sh selects them.
#[derive(Debug, Clone, Default, ClapArgs)]
pub(crate) struct Servers {
    /// Mongrel2's database [default: config.sqlite]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) db: Option<PathBuf>,
    /// The server with this name [default: the only one]
    #[arg(long, global = true, value_name = "NAME", conflicts_with_all = ["host", "uuid", "every"])]
    pub(crate) name: Option<String>,
    /// The server with this default_host
    #[arg(long, global = true, value_name = "HOST", conflicts_with_all = ["uuid", "every"])]
    pub(crate) host: Option<String>,
    /// The server with this uuid
    #[arg(long, global = true, value_name = "UUID", conflicts_with = "every")]
    pub(crate) uuid: Option<String>,
    /// All servers of the database
    #[arg(long, global = true)]
    pub(crate) every: bool,
    /// Mongrel2's working directory [default: the database's folder]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) workdir: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Guard {
    /// Write the library to this file, or into this folder
    #[arg(long, value_name = "FILE")]
    pub(crate) write: Option<PathBuf>,
    /// Print nothing but the library's path
    #[arg(long, conflicts_with = "json")]
    pub(crate) path: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Console {
    /// One command, rather than a prompt
    #[arg(short, long, value_name = "COMMAND")]
    pub(crate) command: Option<String>,
    /// Print what the kennel answers as JSON, a line for each command
    #[arg(long)]
    pub(crate) json: bool,
    /// The socket of the kennel [default: that of the one that runs in this directory]
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Which process, when several run in this directory
    #[arg(long, value_name = "PID", conflicts_with = "socket", value_parser = whole::<i32>)]
    pub(crate) pid: Option<i32>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Signal {
    /// Which process, when several run in this directory
    #[arg(long, value_name = "PID", value_parser = whole::<i32>)]
    pub(crate) pid: Option<i32>,
}
