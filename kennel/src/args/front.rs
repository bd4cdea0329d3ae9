//! The server before the apps: where it is or which one is started, and `kennel front`.

use super::{LogFormat, LogLevel};
use clap::{Args as ClapArgs, ValueEnum};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The server that `kennel run` starts when no address of an existing one is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Front {
    /// Kennel's own front
    Kennel,
    /// A guarded Mongrel2, which has to be installed
    Mongrel2,
}

impl Front {
    /// The server when none is named.
    pub(crate) const DEFAULT: Self = Self::Kennel;

    /// Its name, as typed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kennel => "kennel",
            Self::Mongrel2 => "mongrel2",
        }
    }
}

/// A certificate with its chain, and its key: two PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl FromStr for TlsFiles {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let files: Vec<_> = text.split(',').map(str::trim).collect();
        match files[..] {
            [certificate, key] if !certificate.is_empty() && !key.is_empty() => {
                Ok(Self { certificate: certificate.into(), key: key.into() })
            }
            _ => Err("write two PEM files: CERT,KEY"),
        }
    }
}

impl fmt::Display for TlsFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.certificate.display(), self.key.display())
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct FrontArgs {
    /// Mongrel2's database
    #[arg(value_name = "CONFIG.sqlite")]
    pub(crate) config: PathBuf,
    /// Which server of that database, by name or uuid [default: the only one]
    #[arg(value_name = "SERVER")]
    pub(crate) server: Option<String>,
    /// Speak https with this certificate and key (PEM files), whatever the database says of TLS
    #[arg(long, value_name = "CERT,KEY", env = "KENNEL_TLS")]
    pub(crate) tls: Option<TlsFiles>,
    /// How log lines are written
    #[arg(long, value_enum, default_value = "text", env = "KENNEL_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
    /// How much is logged
    #[arg(long, value_enum, default_value = "info", env = "KENNEL_LOG_LEVEL")]
    pub(crate) log_level: LogLevel,
}

/// Which server Kennel starts, and whether it speaks https.
#[derive(Debug, Clone, Default, ClapArgs)]
pub(crate) struct OwnFront {
    /// The server that Kennel starts: its own front, or a guarded `mongrel2`, which has to be installed [default: kennel]
    #[arg(
        long,
        value_enum,
        hide_possible_values = true,
        value_name = "kennel|mongrel2",
        env = "KENNEL_FRONT"
    )]
    pub(crate) front: Option<Front>,
    /// Speak https with this certificate, its chain and its key (PEM files); Kennel's own front only
    #[arg(long, value_name = "CERT,KEY", env = "KENNEL_TLS")]
    pub(crate) tls: Option<TlsFiles>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Addresses {
    #[command(flatten)]
    pub(crate) own: OwnFront,
    /// Where the server that Kennel starts listens [default: 127.0.0.1:6767]
    #[arg(long, value_name = "ADDR:PORT", env = "KENNEL_LISTEN", conflicts_with_all = ["send_spec", "recv_spec", "mongrel2"])]
    pub(crate) listen: Option<String>,
    /// An existing Mongrel2 handler's send_spec; repeat for several, each with its --recv-spec
    #[arg(
        long,
        value_name = "SPEC",
        env = "KENNEL_SEND_SPEC",
        value_delimiter = ',',
        conflicts_with = "mongrel2"
    )]
    pub(crate) send_spec: Vec<String>,
    /// The same handler's recv_spec
    #[arg(long, value_name = "SPEC", env = "KENNEL_RECV_SPEC", value_delimiter = ',')]
    pub(crate) recv_spec: Vec<String>,
    /// Its recv_ident, to be checked against what Mongrel2 subscribes to
    #[arg(long, value_name = "IDENT", env = "KENNEL_RECV_IDENT", value_delimiter = ',')]
    pub(crate) recv_ident: Vec<String>,
}
