//! Mongrel2s, one for each Handler: up or down, which run, and what they bear.

pub(in crate::hub) mod capacity;
pub(in crate::hub) mod clients;
pub(in crate::hub) mod hosts;
pub(in crate::hub) mod link;
pub(in crate::hub) mod orphans;
pub(in crate::hub) mod under_way;

use crate::hub::ids::LinkId;
use hosts::Hosts;
use link::Link;
use std::ops::{Index, IndexMut};
use std::time::Instant;

/// All Mongrel2 Handlers of the hub. Their number never changes, so a [`LinkId`] always leads to one.
#[derive(Debug, Default)]
pub(in crate::hub) struct Servers {
    pub links: Vec<Link>,
    /// The link of the caller's own, which has no clients.
    pub own_link: Option<LinkId>,
    /// When Mongrel2 is told again whom we hold.
    pub keep_alive: Option<Instant>,
    /// The only names that clients may ask by; none: any.
    pub hosts: Option<Hosts>,
}

impl Servers {
    pub fn new(links: usize) -> Self {
        Self { links: (0..links).map(|_| Link::default()).collect(), ..Self::default() }
    }
}

impl Index<LinkId> for Servers {
    type Output = Link;

    fn index(&self, link: LinkId) -> &Link {
        &self.links[usize::from(link.0)]
    }
}

impl IndexMut<LinkId> for Servers {
    fn index_mut(&mut self, link: LinkId) -> &mut Link {
        &mut self.links[usize::from(link.0)]
    }
}
