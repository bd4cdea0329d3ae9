//! The certificate with which Kennel's front speaks https.

use crate::args::{Front, OwnFront, TlsFiles};
use crate::config::Config;
use crate::exit::wrong_input;
use mongrel2_front::Certificate;

/// The two files, and who named them.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) files: TlsFiles,
    /// How errors call the setting.
    setting: &'static str,
}

impl Tls {
    /// The files that were typed, else those of kennel.toml.
    ///
    /// # Errors
    ///
    /// When another server than Kennel's front is to be started.
    pub(crate) fn chosen(typed: &OwnFront, config: &Config, front: Front) -> anyhow::Result<Option<Self>> {
        let (files, setting) = match (&typed.tls, &config.tls) {
            (Some(files), _) => (files.clone(), "--tls"),
            (None, Some(files)) => (files.clone(), "`tls` in kennel.toml"),
            (None, None) => return Ok(None),
        };
        if front != Front::Kennel {
            let choice = match typed.front {
                Some(_) => "leave out --front mongrel2 or KENNEL_FRONT",
                None => "leave out `front = \"mongrel2\"` in kennel.toml",
            };
            return Err(wrong_input(format!(
                "{setting} needs Kennel's own front, and mongrel2 is chosen\n  {choice}\n  \
                 or let a proxy speak https, see docs/deploying.md"
            )));
        }
        Ok(Some(Self { files, setting }))
    }

    /// Reads the certificate and its key.
    ///
    /// # Errors
    ///
    /// When they cannot be used; with the file and the next step.
    pub(crate) fn look(&self) -> anyhow::Result<Certificate> {
        let TlsFiles { certificate, key } = &self.files;
        // The front is given both in one argument.
        if let Some(path) = [certificate, key].into_iter().find(|path| path.to_string_lossy().contains(',')) {
            return Err(wrong_input(format!(
                "{}: `{}` has a comma in its path, which separates the two files; rename it",
                self.setting,
                path.display()
            )));
        }
        mongrel2_front::inspect_certificate(certificate, key).map_err(|problem| {
            let is_swapped = mongrel2_front::inspect_certificate(key, certificate).is_ok();
            let hint = if is_swapped { "\n  the certificate comes first, then the key" } else { "" };
            wrong_input(format!("{}: {problem}{hint}", self.setting))
        })
    }
}
