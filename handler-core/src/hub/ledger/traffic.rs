//! What has come to which route and channel, and what became of it.
//!
//! Each request belongs to a meter from its beginning on, and is counted there once, when it is answered or will
//! never be. There is one for each route by its pattern, never by what clients ask for: so there are as many as
//! scripts have routes. They outlive the code that they were made for, since what they say only grows.

use crate::hub::ids::AppId;
use crate::metrics::Histogram;
use crate::mount;
use crate::worker::protocol::Registration;
use std::time::{Duration, Instant};

/// A place in the list of meters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) struct MeterId(u32);

impl MeterId {
    /// Of what the hub answers before it knows whose it is.
    pub const NOBODY: Self = Self(0);
}

/// A place in the list of channels' meters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) struct ChannelMeterId(u16);

/// Requests of an app that belong to none of its routes, and by which word they go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(in crate::hub) enum Beside {
    /// No route has the path.
    NotFound,
    /// OPTIONS that no route claims.
    Options,
    /// The path has a route, the method has not.
    MethodNotAllowed,
    /// Of an app that takes all there is: ASGI and WSGI.
    Any,
    /// What the raw handler gets.
    Raw,
    /// The app is not loaded, or has too many routes.
    Other,
}

impl Beside {
    const ALL: [(Self, &'static str); 6] = [
        (Self::NotFound, "not_found"),
        (Self::Options, "options"),
        (Self::MethodNotAllowed, "method_not_allowed"),
        (Self::Any, "any"),
        (Self::Raw, "raw"),
        (Self::Other, "other"),
    ];
}

/// The status of what the raw handler answers by itself.
const BY_ITSELF: u16 = 0;
/// Routes of all apps that are told apart, and channels.
const MOST_ROUTES: usize = 4096;
const MOST_CHANNELS: usize = 1024;
/// Statuses of one route that are told apart. Scripts use a handful.
const MOST_STATUSES: usize = 64;
/// What the others of them count under.
const OTHER_STATUS: u16 = u16::MAX;

/// The requests of one route.
#[derive(Debug)]
pub(in crate::hub) struct Meter {
    /// None: nobody's.
    pub app: Option<AppId>,
    /// Its pattern, or a word.
    pub route: String,
    statuses: Vec<(u16, u64)>,
    /// Whose client left before the answer.
    pub lost: u64,
    /// From a request to its answer, or to the beginning of that.
    pub times: Histogram,
}

impl Meter {
    fn new(app: Option<AppId>, route: &str) -> Self {
        Self { app, route: route.to_owned(), statuses: Vec::new(), lost: 0, times: Histogram::default() }
    }

    fn answered(&mut self, status: u16, time: Duration) {
        self.times.observe(time);
        if let Some((_, count)) = self.statuses.iter_mut().find(|(known, _)| *known == status) {
            *count += 1;
        } else if self.statuses.len() < MOST_STATUSES {
            self.statuses.push((status, 1));
        } else {
            self.answered_with_another();
        }
    }

    #[cold]
    fn answered_with_another(&mut self) {
        match self.statuses.iter_mut().find(|(known, _)| *known == OTHER_STATUS) {
            Some((_, count)) => *count += 1,
            None => self.statuses.push((OTHER_STATUS, 1)),
        }
    }

    /// How many were answered.
    pub fn answers(&self) -> u64 {
        self.statuses.iter().map(|(_, count)| count).sum()
    }

    /// How often each status was answered, in its written form, and how often none.
    pub fn outcomes(&self) -> impl Iterator<Item = (String, u64)> {
        let written = |(status, count): &(u16, u64)| match *status {
            BY_ITSELF => ("raw".to_owned(), *count),
            OTHER_STATUS => ("other".to_owned(), *count),
            status => (status.to_string(), *count),
        };
        let lost = (self.lost > 0).then(|| ("lost".to_owned(), self.lost));
        self.statuses.iter().map(written).chain(lost)
    }
}

/// The live connections of one channel.
#[derive(Debug)]
pub(in crate::hub) struct ChannelMeter {
    /// None: of channels beyond the first thousand.
    pub app: Option<AppId>,
    pub channel: String,
    pub opened: u64,
    pub closed: u64,
    /// Messages from clients.
    pub received: u64,
    /// Messages to single clients.
    pub sent: u64,
}

/// All that is counted by route and by channel.
#[derive(Debug)]
pub(in crate::hub) struct Traffic {
    /// Nobody's, then those of each app that are [beside](Beside) its routes, then routes as they come.
    pub meters: Vec<Meter>,
    pub channels: Vec<ChannelMeter>,
    /// Requests that have begun. It numbers them, too.
    pub begun: u64,
}

impl Traffic {
    pub fn new(apps: u16) -> Self {
        let mut meters = vec![Meter::new(None, "-")];
        for app in (0..apps).map(AppId) {
            meters.extend(Beside::ALL.map(|(_, word)| Meter::new(Some(app), word)));
        }
        let channels = vec![ChannelMeter::new(None, "other")];
        Self { meters, channels, begun: 0 }
    }

    /// Whose requests are counted here.
    pub fn app_of(&self, meter: MeterId) -> Option<AppId> {
        self.meters.get(meter.0 as usize)?.app
    }

    /// Its pattern, or a word for what is beside all routes.
    pub fn route_of(&self, meter: MeterId) -> Option<&str> {
        self.meters.get(meter.0 as usize).map(|meter| meter.route.as_str())
    }

    /// Where requests beside an app's routes are counted.
    pub fn beside(&self, app: AppId, what: Beside) -> MeterId {
        MeterId(1 + u32::from(app.0) * Beside::ALL.len() as u32 + what as u32)
    }

    /// The meters of an app's routes, by the numbers of their handlers.
    pub fn learn_routes(&mut self, app: AppId, mount: &str, registration: &Registration) -> Vec<MeterId> {
        let mut by_handler = Vec::new();
        for route in &registration.routes {
            let pattern = mount::join(mount, &route.path);
            let known = self.meters.iter().position(|m| m.app == Some(app) && m.route == pattern);
            let at = match known {
                Some(at) => MeterId(at as u32),
                None if self.meters.len() >= MOST_ROUTES => continue,
                None => {
                    self.meters.push(Meter::new(Some(app), &pattern));
                    MeterId(self.meters.len() as u32 - 1)
                }
            };
            // Workers number their handlers from 0; one that does not is not worth the memory.
            let handler = route.handler as usize;
            if handler < MOST_ROUTES {
                if by_handler.len() <= handler {
                    by_handler.resize(handler + 1, self.beside(app, Beside::Other));
                }
                by_handler[handler] = at;
            }
        }
        by_handler
    }

    /// The meters of an app's channels, in their order.
    pub fn learn_channels(
        &mut self,
        app: AppId,
        mount: &str,
        registration: &Registration,
    ) -> Vec<ChannelMeterId> {
        let mut meters = Vec::new();
        for spec in &registration.channels {
            let channel = mount::join(mount, &spec.path);
            let known = self.channels.iter().position(|m| m.app == Some(app) && m.channel == channel);
            let at = match known {
                Some(at) => at,
                None if self.channels.len() >= MOST_CHANNELS => 0,
                None => {
                    self.channels.push(ChannelMeter::new(Some(app), &channel));
                    self.channels.len() - 1
                }
            };
            meters.push(ChannelMeterId(at as u16));
        }
        meters
    }

    /// The number of a request that begins.
    pub fn begin(&mut self) -> u64 {
        self.begun += 1;
        self.begun
    }

    /// A request is answered, or its answer begins.
    #[inline]
    pub fn answered(&mut self, meter: MeterId, since: Instant, status: u16, now: Instant) {
        let time = now.saturating_duration_since(since);
        self.meters[meter.0 as usize].answered(status, time);
    }

    /// The raw handler is done with a request, which it has answered or not.
    pub fn done(&mut self, meter: MeterId, since: Instant, now: Instant) {
        self.answered(meter, since, BY_ITSELF, now);
    }

    /// A request will have no answer.
    pub fn lost(&mut self, meter: MeterId) {
        self.meters[meter.0 as usize].lost += 1;
    }

    /// Requests that are answered or lost.
    #[cfg(test)]
    pub fn ended(&self) -> u64 {
        let of_meter = |meter: &Meter| meter.outcomes().map(|(_, count)| count).sum::<u64>();
        self.meters.iter().map(of_meter).sum()
    }
}

impl ChannelMeter {
    fn new(app: Option<AppId>, channel: &str) -> Self {
        let channel = channel.to_owned();
        Self { app, channel, opened: 0, closed: 0, received: 0, sent: 0 }
    }

    /// Live connections.
    pub fn open(&self) -> u64 {
        self.opened - self.closed
    }
}

impl Traffic {
    /// The meter of a live connection's channel.
    pub fn channel(&mut self, meter: ChannelMeterId) -> Option<&mut ChannelMeter> {
        self.channels.get_mut(usize::from(meter.0))
    }
}

impl ChannelMeterId {
    /// Of channels that are not told apart.
    pub const OTHER: Self = Self(0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::protocol::{ChannelSpec, RouteSpec};

    fn registration(paths: &[(&str, u32)]) -> Registration {
        let route = |(path, handler): &(&str, u32)| RouteSpec {
            methods: vec!["GET".into()],
            path: (*path).into(),
            handler: *handler,
            place: String::new(),
            streams: false,
        };
        Registration { routes: paths.iter().map(route).collect(), ..Registration::default() }
    }

    #[test]
    fn a_route_keeps_its_meter_over_reloads() {
        let mut traffic = Traffic::new(2);
        let first = traffic.learn_routes(AppId(1), "/two/", &registration(&[("/a", 0), ("/b", 1)]));
        let second = traffic.learn_routes(AppId(1), "/two/", &registration(&[("/b", 0), ("/c", 1)]));
        assert_eq!(first[1], second[0]);
        assert_eq!(traffic.meters[first[1].0 as usize].route, "/two/b");
        let other = traffic.learn_routes(AppId(0), "/two", &registration(&[("/b", 0)]));
        assert_ne!(other[0], second[0], "of another app");
    }

    #[test]
    fn channels_are_counted_by_their_path() {
        let spec = |path: &str| ChannelSpec { path: path.into(), ..ChannelSpec::default() };
        let channels = vec![spec("/chat"), spec("@chat")];
        let registration = Registration { channels, ..Registration::default() };
        let mut traffic = Traffic::new(1);
        let meters = traffic.learn_channels(AppId(0), "/app", &registration);
        let names = meters.iter().map(|at| &*traffic.channels[usize::from(at.0)].channel);
        assert_eq!(names.collect::<Vec<_>>(), ["/app/chat", "@chat"]);
    }

    #[test]
    fn neither_routes_nor_statuses_without_end_fill_the_memory() {
        let mut traffic = Traffic::new(1);
        let many: Vec<_> = (0..10_000).map(|n| (format!("/{n}"), n)).collect();
        let many: Vec<_> = many.iter().map(|(path, n)| (path.as_str(), *n)).collect();
        traffic.learn_routes(AppId(0), "/", &registration(&many));
        assert_eq!(traffic.meters.len(), MOST_ROUTES);
        let far = traffic.learn_routes(AppId(0), "/", &registration(&[("/0", u32::MAX)]));
        assert!(far.is_empty());
        let mut meter = Meter::new(None, "-");
        (100..1000).for_each(|status| meter.answered(status, Duration::ZERO));
        assert_eq!(meter.outcomes().count(), MOST_STATUSES + 1);
        assert_eq!(meter.outcomes().map(|(_, count)| count).sum::<u64>(), 900);
        assert_eq!(meter.outcomes().last(), Some(("other".to_owned(), 900 - MOST_STATUSES as u64)));
    }
}
