//! What can be typed after `kennel conf`.

use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum Conf {
    /// Make the database of a configuration file: whole, or not at all
    #[command(after_help = "Examples:
  kennel conf load site.conf                   makes config.sqlite, or replaces it
  kennel conf load --db /srv/site.sqlite site.conf
  kennel conf load --why 'new chat' site.conf  what `kennel conf log` shows")]
    Load(Load),
    /// Say what is wrong with a configuration file, all of it
    #[command(after_help = "Examples:
  kennel conf check site.conf
  kennel conf check --json site.conf | jq -r '.[].name'")]
    Check(Check),
    /// Print a database as the configuration file that loads to it
    #[command(after_help = "Examples:
  kennel conf print > site.conf                from config.sqlite
  kennel conf print --db old.sqlite")]
    Print(Print),
    /// Show what differs between two databases or configuration files
    #[command(after_help = "Examples:
  kennel conf diff site.conf                   what loading it would change in config.sqlite
  kennel conf diff old.sqlite new.sqlite
  kennel conf diff --json old.conf new.conf

The exit code is 0 when they are alike, 1 when they differ.")]
    Diff(Diff),
    /// List the servers
    #[command(after_help = "Examples:
  kennel conf servers
  kennel conf servers --json | jq -r '.[].uuid'")]
    Servers(Listing),
    /// List the hosts of a server, or of all
    #[command(after_help = "Examples:
  kennel conf hosts
  kennel conf hosts --server main              by its name or its uuid")]
    Hosts(Hosts),
    /// List the routes of a host, or of all
    #[command(after_help = "Examples:
  kennel conf routes
  kennel conf routes --server main --host localhost
  kennel conf routes --id 2                    of the host with this number")]
    Routes(Routes),
    /// Tell which route a path reaches, as Mongrel2 would decide it
    #[command(after_help = "Examples:
  kennel conf route --path /chat/42
  kennel conf route --path /chat/42 --host www.example.com
  kennel conf route --path /chat/42 --pattern '/chat/([0-9]+)$'     without a database

The exit code is 1 when no route fits.")]
    Route(Route),
    /// List the settings
    #[command(after_help = "Examples:
  kennel conf settings
  kennel conf settings --json --db site.sqlite")]
    Settings(Listing),
    /// List the content types by file name extension
    #[command(after_help = "Examples:
  kennel conf mimetypes | grep font")]
    Mimetypes(Listing),
    /// Show who changed the configuration, when and why
    #[command(after_help = "Examples:
  kennel conf log")]
    Log(Listing),
    /// Add a row to the log
    #[command(after_help = "Examples:
  kennel conf commit --what 'port 80' --why 'the old site is gone'")]
    Commit(Commit),
}

impl Conf {
    /// Whether the command has `--json`.
    pub(crate) fn asks_for_json(&self) -> bool {
        match self {
            Self::Check(args) => args.json,
            Self::Diff(args) => args.json,
            Self::Servers(args) | Self::Settings(args) | Self::Mimetypes(args) | Self::Log(args) => args.json,
            Self::Hosts(args) => args.listing.json,
            Self::Routes(args) => args.listing.json,
            Self::Route(args) => args.listing.json,
            Self::Load(_) | Self::Print(_) | Self::Commit(_) => false,
        }
    }
}

/// Which database.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Database {
    /// The database
    #[arg(long, value_name = "FILE", default_value = "config.sqlite")]
    pub(crate) db: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Load {
    /// The configuration file
    #[arg(value_name = "FILE.conf")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) database: Database,
    /// For which Mongrel2 [default: that of the database that is replaced, or 1.12, or 1.13 with an error_log_level]
    #[arg(long, value_enum, value_name = "VERSION")]
    pub(crate) schema: Option<SchemaVersion>,
    /// What the log gives as the reason
    #[arg(long, value_name = "TEXT", default_value = "command")]
    pub(crate) why: String,
    /// Warnings are errors: load nothing if there is one
    #[arg(long)]
    pub(crate) strict: bool,
}

/// The two forms of Mongrel2's database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaVersion {
    /// Mongrel2 1.12 and earlier
    #[value(name = "1.12")]
    V1_12,
    /// Mongrel2 1.13: servers have an error_log_level
    #[value(name = "1.13")]
    V1_13,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Check {
    /// The configuration file
    #[arg(value_name = "FILE.conf")]
    pub(crate) file: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Warnings are errors: exit with 2 if there is one
    #[arg(long)]
    pub(crate) strict: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Print {
    #[command(flatten)]
    pub(crate) database: Database,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Diff {
    /// Two databases or configuration files, the older one first; with one, the older one is --db
    #[arg(value_name = "FILE", required = true, num_args = 1..=2)]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) database: Database,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Listing {
    #[command(flatten)]
    pub(crate) database: Database,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Hosts {
    /// Of which server: its name or uuid
    #[arg(long, value_name = "NAME")]
    pub(crate) server: Option<String>,
    #[command(flatten)]
    pub(crate) listing: Listing,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Routes {
    /// Of which server: its name or uuid
    #[arg(long, value_name = "NAME")]
    pub(crate) server: Option<String>,
    /// Of which host
    #[arg(long, value_name = "NAME")]
    pub(crate) host: Option<String>,
    /// Of which host, by the number that `kennel conf hosts` shows
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["server", "host"], value_parser = super::whole::<i64>)]
    pub(crate) id: Option<i64>,
    #[command(flatten)]
    pub(crate) listing: Listing,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Route {
    /// The path of a request
    #[arg(long, value_name = "PATH")]
    pub(crate) path: String,
    /// Its Host header [default: what reaches the server's default_host]
    #[arg(long, value_name = "NAME", conflicts_with = "pattern")]
    pub(crate) host: Option<String>,
    /// Of which server: its name or uuid
    #[arg(long, value_name = "NAME", conflicts_with = "pattern")]
    pub(crate) server: Option<String>,
    /// Try this route key alone, without a database
    #[arg(long, value_name = "KEY", conflicts_with = "db")]
    pub(crate) pattern: Option<String>,
    #[command(flatten)]
    pub(crate) listing: Listing,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Commit {
    /// What was changed
    #[arg(long, value_name = "TEXT")]
    pub(crate) what: String,
    /// For what reason
    #[arg(long, value_name = "TEXT")]
    pub(crate) why: Option<String>,
    /// On which machine [default: this one]
    #[arg(long = "where", value_name = "TEXT")]
    pub(crate) location: Option<String>,
    /// By what means
    #[arg(long, value_name = "TEXT", default_value = "kennel")]
    pub(crate) how: String,
    #[command(flatten)]
    pub(crate) database: Database,
}
