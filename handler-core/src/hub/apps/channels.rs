//! Which channel takes a connection.

use crate::hub::apps::routes::{RouteError, Routes, Target};
use crate::worker::protocol::{ChannelSpec, RouteSpec};
use kennel_http::percent::normal_path;
use rustc_hash::FxHashMap;

/// The method under which paths of channels are registered as routes.
const METHOD: &str = "CHANNEL";

/// The channels of one app.
#[derive(Debug, Default, Clone)]
pub struct Channels {
    specs: Vec<ChannelSpec>,
    paths: Routes,
    /// `@name` and `<tag`, by the whole text.
    sockets: FxHashMap<Box<[u8]>, u16>,
}

impl Channels {
    /// Takes an app's channels. `mount` is put before the paths.
    ///
    /// # Errors
    ///
    /// [`RouteError`] for the first path that cannot be served.
    pub fn new(mount: &str, specs: &[ChannelSpec]) -> Result<Self, RouteError> {
        let mut channels = Self { specs: specs.to_vec(), ..Self::default() };
        let mut routes = Vec::new();
        for (at, spec) in specs.iter().enumerate() {
            if spec.path.starts_with(['@', '<']) {
                channels.sockets.insert(spec.path.as_bytes().into(), at as u16);
            } else {
                let (path, place) = (spec.path.clone(), spec.place.clone());
                routes.push(RouteSpec {
                    methods: vec![METHOD.into()],
                    path,
                    handler: at as u32,
                    place,
                    streams: false,
                });
            }
        }
        channels.paths = Routes::new(mount, &routes)?;
        Ok(channels)
    }

    /// The channel for a message's path, and the path's values, not percent-decoded.
    pub fn find(&self, path: &[u8]) -> Option<(u16, Vec<String>)> {
        if path.starts_with(b"@") || path.starts_with(b"<") {
            return self.sockets.get(path).map(|at| (*at, Vec::new()));
        }
        let path = normal_path(path);
        match self.paths.find(METHOD.as_bytes(), &path) {
            Target::Handler(at, values) => Some((at as u16, values.into_iter().map(str::to_owned).collect())),
            _ => None,
        }
    }

    /// A channel by its place.
    pub fn get(&self, at: u16) -> Option<&ChannelSpec> {
        self.specs.get(usize::from(at))
    }

    /// For each channel, its place in other code of the same app.
    pub fn positions_in(&self, other: &Self) -> Vec<Option<u16>> {
        let position = |path: &str| other.specs.iter().position(|spec| spec.path == path).map(|at| at as u16);
        self.specs.iter().map(|spec| position(&spec.path)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_names_and_tags_lead_to_their_channel() {
        let spec = |path: &str| ChannelSpec { path: path.into(), ..ChannelSpec::default() };
        let specs = [spec("/chat"), spec("/rooms/{name}"), spec("@chat"), spec("<chat")];
        let channels = Channels::new("/app", &specs).unwrap();
        assert_eq!(channels.find(b"/app/chat"), Some((0, vec![])));
        assert_eq!(channels.find(b"/app/rooms/a%20b"), Some((1, vec!["a%20b".into()])));
        assert_eq!(channels.find(b"@chat"), Some((2, vec![])), "sockets know no mount point");
        assert_eq!(channels.find(b"<chat"), Some((3, vec![])));
        for nobody in [&b"/chat"[..], b"@chat/sub", b"<cha", b"", b"\xff"] {
            assert_eq!(channels.find(nobody), None);
        }
        let newer = Channels::new("/app", &[spec("@chat"), spec("/new"), spec("/chat")]).unwrap();
        assert_eq!(channels.positions_in(&newer), [Some(2), None, Some(0), None]);
    }
}
