//! All of a server's certificates, loaded and loaded again.
//!
//! A start uses what there is: an expired certificate with an error in the log, and names whose files cannot be used
//! get the server's own certificate. A reload replaces all or nothing, and takes no new certificate that is not valid.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use mongrel2_conf::model::Server;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{ClientHello, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::clients::{Clients, Verification};
use super::error::TlsError;
use super::folder::{Files, Found, Place, Stamp, read};
use super::pair::Pair;

type Settings = [(String, String)];

/// A server's certificates. Sessions keep those with which they began.
#[derive(Debug)]
pub(crate) struct Certificates {
    provider: Arc<CryptoProvider>,
    verification: Verification,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    place: Place,
    /// The certdir as it is called inside the chroot.
    inside: PathBuf,
    /// `ssl.ca_chain`, which lies outside of the chroot.
    chain: Option<PathBuf>,
    /// How the files were when they were last looked at, whether they could be used or not.
    seen: Vec<Stamp>,
    loaded: Loaded,
}

#[derive(Debug)]
struct Loaded {
    default: Entry,
    named: BTreeMap<String, Entry>,
    chain: Option<Vec<u8>>,
    config: Arc<ServerConfig>,
    clients: Option<Arc<Clients>>,
    tickets: Arc<dyn ProducesTickets>,
}

/// What was made of a certificate's files: `None` if they could not be used at the start.
#[derive(Debug, Clone)]
struct Entry {
    digest: Option<[u8; 32]>,
    pair: Option<Pair>,
}

impl Certificates {
    /// Loads the certificates of a server as Mongrel2 finds them. Relative paths count from `root`.
    pub(crate) fn load(server: &Server, settings: &Settings, root: &Path) -> Result<Arc<Self>, TlsError> {
        let setting =
            |key: &str| settings.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
        let is_set = |key| setting(key).is_some_and(|value| !value.trim().is_empty() && value.trim() != "0");
        let Some(certdir) = setting("certdir").filter(|certdir| !certdir.is_empty()) else {
            return Err(TlsError::NoCertdir { server: server.label().into(), uuid: server.uuid.clone() });
        };
        if !certdir.ends_with('/') {
            return Err(TlsError::NoSlash { certdir: certdir.into() });
        }
        if setting("ssl_ciphers").is_some() {
            tracing::warn!(
                "setting `ssl_ciphers` has no effect: all ciphers of TLS 1.2 and 1.3 in use are safe"
            );
        }
        let verification = match (is_set("ssl.verify_required"), is_set("ssl.verify_optional")) {
            (true, _) => Verification::Required,
            (false, true) => Verification::Optional,
            (false, false) => Verification::Off,
        };
        // Mongrel2 puts both texts together as they are.
        let place = Place::Folder {
            certdir: root.join(format!("{}{certdir}", server.chroot)),
            uuid: server.uuid.clone(),
        };
        let chain = setting("ssl.ca_chain").filter(|chain| !chain.is_empty()).map(|chain| root.join(chain));
        let chain = chain.filter(|_| verification != Verification::Off);
        Self::at(place, Path::new("/").join(certdir), chain, verification)
    }

    /// Loads one certificate for all names, from two PEM files.
    pub(crate) fn load_pair(certificate: &Path, key: &Path) -> Result<Arc<Self>, TlsError> {
        let place = Place::Pair { certificate: certificate.into(), key: key.into() };
        Self::at(place, PathBuf::new(), None, Verification::Off)
    }

    fn at(
        place: Place,
        inside: PathBuf,
        chain: Option<PathBuf>,
        verification: Verification,
    ) -> Result<Arc<Self>, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let seen = stamps(&place, chain.as_deref());
        let found = place.read()?;
        let chain_text = chain.as_deref().map(|path| read("authorities' file", path)).transpose()?;
        let now = now();
        let default = Entry::new(&found.default, &provider)?;
        let mut named = BTreeMap::new();
        for (name, files) in &found.named {
            let entry = files
                .as_ref()
                .map_err(ToString::to_string)
                .and_then(|files| Entry::new(files, &provider).map_err(|problem| problem.to_string()));
            let entry = entry.unwrap_or_else(|problem| {
                tracing::error!(
                    host = name,
                    problem,
                    "certificate is not used, clients get that of the server"
                );
                Entry { digest: files.as_ref().ok().map(Files::digest), pair: None }
            });
            named.insert(name.clone(), entry);
        }
        let all =
            [("", &default)].into_iter().chain(named.iter().map(|(name, entry)| (name.as_str(), entry)));
        for (name, entry) in all {
            if let Some(why) = entry.pair.as_ref().and_then(|pair| pair.why_not_valid(now)) {
                tracing::error!(host = name, "certificate {why}; clients refuse it until it is replaced");
            }
        }
        let tickets = ring::Ticketer::new()?;
        let loaded =
            Loaded::new(default, named, (chain.as_deref(), chain_text), verification, tickets, &provider)?;
        let state = Mutex::new(State { place, inside, chain, seen, loaded });
        Ok(Arc::new(Self { provider, verification, state }))
    }

    /// Says that the process is inside the chroot now. From here on, `ssl.ca_chain` cannot be reached any more and
    /// stays as it is.
    pub(crate) fn enter_chroot(&self) {
        let mut state = self.state();
        if let Place::Folder { uuid, .. } = &state.place {
            state.place = Place::Folder { certdir: state.inside.clone(), uuid: uuid.clone() };
        }
        state.chain = None;
        state.seen = stamps(&state.place, None);
    }

    /// Whether files changed since they were last looked at. Cheap enough to ask every few seconds; true once per
    /// change, whether [`reload`](Self::reload) likes it or not.
    pub(crate) fn changed(&self) -> bool {
        let state = self.state();
        stamps(&state.place, state.chain.as_deref()) != state.seen
    }

    /// Loads all files again. Returns whether anything changed; when it fails, everything stays as it was.
    pub(crate) fn reload(&self) -> Result<bool, TlsError> {
        let mut state = self.state();
        state.seen = stamps(&state.place, state.chain.as_deref());
        let Found { default, named } = state.place.read()?;
        let chain = state.chain.clone();
        let chain_text = match &chain {
            Some(path) => Some(read("authorities' file", path)?),
            None => state.loaded.chain.clone(),
        };
        let old = &state.loaded;
        let default = old.default.renew(&default, &self.provider)?;
        let mut renewed = BTreeMap::new();
        for (name, files) in named {
            let entry = match (old.named.get(&name), files) {
                // It could not be read at the start, and still cannot.
                (Some(old), Err(_)) if old.digest.is_none() => old.clone(),
                (_, Err(problem)) => return Err(problem),
                (Some(old), Ok(files)) => old.renew(&files, &self.provider)?,
                (None, Ok(files)) => Entry { digest: None, pair: None }.renew(&files, &self.provider)?,
            };
            renewed.insert(name, entry);
        }
        let digests = |named: &BTreeMap<String, Entry>| -> Vec<_> {
            named.iter().map(|(name, entry)| (name.clone(), entry.digest)).collect()
        };
        let same_chain = chain_text == old.chain;
        if same_chain && default.digest == old.default.digest && digests(&renewed) == digests(&old.named) {
            return Ok(false);
        }
        // Tickets hold a client's certificate, which other authorities may not vouch for.
        let tickets = if same_chain { Arc::clone(&old.tickets) } else { ring::Ticketer::new()? };
        let chain = (chain.as_deref(), chain_text);
        state.loaded = Loaded::new(default, renewed, chain, self.verification, tickets, &self.provider)?;
        Ok(true)
    }

    /// What a new session begins with.
    pub(super) fn current(&self) -> (Arc<ServerConfig>, Option<Arc<Clients>>) {
        let state = self.state();
        (Arc::clone(&state.loaded.config), state.loaded.clients.clone())
    }

    /// Nothing panics while it is locked, and each change is one assignment.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn new(files: &Files, provider: &CryptoProvider) -> Result<Self, TlsError> {
        let (certificate, key) = (&files.certificate, &files.key);
        let pair = Pair::read((&certificate.0, &certificate.1), (&key.0, &key.1), provider)?;
        Ok(Self { digest: Some(files.digest()), pair: Some(pair) })
    }

    /// Itself if the files are the same, else what the new ones hold, which must be valid now.
    fn renew(&self, files: &Files, provider: &CryptoProvider) -> Result<Self, TlsError> {
        if self.digest == Some(files.digest()) {
            return Ok(self.clone());
        }
        let renewed = Self::new(files, provider)?;
        match renewed.pair.as_ref().and_then(|pair| pair.why_not_valid(now())) {
            Some(why) => Err(TlsError::NotValid { path: files.certificate.0.clone(), why }),
            None => Ok(renewed),
        }
    }
}

impl Loaded {
    fn new(
        default: Entry,
        named: BTreeMap<String, Entry>,
        (chain_path, chain): (Option<&Path>, Option<Vec<u8>>),
        verification: Verification,
        tickets: Arc<dyn ProducesTickets>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let chain_file = chain.as_deref().map(|text| (chain_path.unwrap_or(Path::new("ssl.ca_chain")), text));
        let clients = match verification {
            Verification::Off => None,
            _ => {
                let is_required = verification == Verification::Required;
                Some(Arc::new(Clients::new(is_required, chain_file, provider)?))
            }
        };
        let certified = |entry: &Entry| entry.pair.as_ref().map(|pair| Arc::clone(&pair.certified));
        let by_name = ByName {
            default: certified(&default),
            named: named.iter().filter_map(|(name, entry)| Some((name.clone(), certified(entry)?))).collect(),
        };
        let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(provider)).with_protocol_versions(&versions)?;
        let builder = match &clients {
            Some(clients) => builder.with_client_cert_verifier(Arc::clone(clients) as Arc<_>),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(by_name));
        config.ticketer = Arc::clone(&tickets);
        // The strongest cipher that both have, whatever the client would rather have.
        config.ignore_client_order = true;
        Ok(Self { default, named, chain, config: Arc::new(config), clients, tickets })
    }
}

/// Chooses by the name that a client asks for, as Mongrel2 does: the name itself, then `_.` and its parent.
#[derive(Debug)]
struct ByName {
    default: Option<Arc<CertifiedKey>>,
    named: HashMap<String, Arc<CertifiedKey>>,
}

impl ByName {
    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        self.named.get(name).or_else(|| {
            let (_, parent) = name.split_once('.')?;
            self.named.get(&format!("_.{parent}"))
        })
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // The library gives names in lower case.
        hello.server_name().and_then(|name| self.find(name)).or(self.default.as_ref()).cloned()
    }
}

fn stamps(place: &Place, chain: Option<&Path>) -> Vec<Stamp> {
    let mut stamps = place.stamps();
    stamps.extend(chain.and_then(Stamp::of));
    stamps
}

pub(super) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}
