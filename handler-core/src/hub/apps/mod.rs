//! Apps: their routes and channels, their seats, and who shares their requests.

pub(in crate::hub) mod affinity;
pub(in crate::hub) mod app;
pub(in crate::hub) mod channels;
pub mod routes;
pub(in crate::hub) mod sharing;

use crate::hub::ids::AppId;
use crate::mount;
use crate::worker::protocol::ChannelSpec;
use app::{App, AppSpec};
use kennel_http::percent::normal_path;
use mongrel2_wire::{Envelope, Head};
use std::ops::{Index, IndexMut};

/// All apps of the hub. Their number never changes, so an [`AppId`] always leads to one.
#[derive(Debug)]
pub(in crate::hub) struct Apps {
    pub list: Vec<App>,
    /// The longest mount point first: it owns a path that fits several.
    pub order: Vec<AppId>,
    /// Some app has channels: only then a request may be for one.
    pub has_channels: bool,
}

impl Apps {
    pub fn new(specs: Vec<AppSpec>) -> Self {
        let mut order: Vec<_> = (0..specs.len() as u16).map(AppId).collect();
        let length = |app: &AppId| mount::prefix(&specs[usize::from(app.0)].mount).len();
        order.sort_by_key(|app| std::cmp::Reverse(length(app)));
        Self { list: specs.into_iter().map(App::new).collect(), order, has_channels: false }
    }

    /// The app that takes what no route takes.
    pub fn raw(&self) -> Option<AppId> {
        self.list.iter().position(|app| app.registration.raw).map(|n| AppId(n as u16))
    }

    /// A channel of an app.
    pub fn channel(&self, app: AppId, route: u16) -> Option<&ChannelSpec> {
        self[app].channels.get(route)
    }

    /// The app and its channel for a path.
    pub fn channel_at(&self, path: &[u8]) -> Option<(AppId, u16)> {
        self.order.iter().find_map(|app| Some((*app, self[*app].channels.find(path)?.0)))
    }

    /// The app and its channel for a message.
    pub fn channel_for(&self, envelope: &Envelope<'_>, head: &Head<'_>) -> Option<(AppId, u16)> {
        if !is_below_route(envelope, head) {
            return None;
        }
        self.channel_at(envelope.path)
    }

    /// The ids of all apps.
    pub fn ids(&self) -> impl Iterator<Item = AppId> + use<> {
        (0..self.list.len() as u16).map(AppId)
    }

    /// What a handshake on a path (raw as in a request) without a channel is answered: the path may be that of an app of which
    /// no code has loaded.
    pub fn status_without_channel(&self, path: &[u8]) -> u16 {
        let path = normal_path(path);
        let mut owners = self.order.iter().map(|app| &self[*app]);
        match owners.find(|app| app.routes.is_under_mount(&path)).filter(|app| !app.is_loaded()) {
            None => 404,
            Some(app) if app.broken.is_some() => 500,
            Some(_) => 503,
        }
    }
}

impl Index<AppId> for Apps {
    type Output = App;

    fn index(&self, app: AppId) -> &App {
        &self.list[usize::from(app.0)]
    }
}

impl IndexMut<AppId> for Apps {
    fn index_mut(&mut self, app: AppId) -> &mut App {
        &mut self.list[usize::from(app.0)]
    }
}

/// Whether a message's path is one of its Mongrel2 route's. Mongrel2 also hands over paths that end inside the route's key.
pub(in crate::hub) fn is_below_route(envelope: &Envelope<'_>, head: &Head<'_>) -> bool {
    head.pattern.is_none_or(|pattern| mount::is_below_route(&pattern.bytes(), envelope.path))
}
