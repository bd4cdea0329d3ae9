//! Rooms against the plainest model there is, over many random steps from a seed.

use super::{MemberId, Place, RoomError, Rooms};
use mongrel2_wire::{ConnId, Sender};
use std::collections::{BTreeSet, HashMap, HashSet};

/// xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % bound as u64) as usize
    }
}

const LIMIT: usize = 5;

struct World {
    rooms: Rooms,
    model: HashMap<Vec<u8>, HashSet<MemberId>>,
    /// Where each member is; `None`: nowhere that can be reached.
    places: Vec<Option<Place>>,
    senders: Vec<Option<Sender>>,
    next_id: i64,
}

impl World {
    fn new(members: usize) -> Self {
        let senders = ["m2-a", "b", "34f9ceee-cd52"].map(|name| Some(Sender::new(name).unwrap()));
        Self {
            rooms: Rooms::new(LIMIT),
            model: HashMap::new(),
            places: vec![None; members],
            senders: senders.to_vec(),
            next_id: 1,
        }
    }

    fn join(&mut self, name: &[u8], member: MemberId) {
        let is_in = self.model.values().filter(|room| room.contains(&member)).count();
        let expected = if self.model.get(name).is_some_and(|room| room.contains(&member)) {
            Ok(false)
        } else if is_in == LIMIT {
            Err(RoomError::TooManyRooms { limit: LIMIT })
        } else {
            self.model.entry(name.to_vec()).or_default().insert(member);
            Ok(true)
        };
        assert_eq!(self.rooms.join(name, member), expected);
    }

    fn leave(&mut self, name: &[u8], member: MemberId) {
        let was_in = self.model.get_mut(name).is_some_and(|room| room.remove(&member));
        assert_eq!(self.rooms.leave(name, member), was_in);
        self.model.retain(|_, room| !room.is_empty());
    }

    fn leave_all(&mut self, member: MemberId) {
        let is_in: BTreeSet<_> = self.rooms.rooms_of(member).map(<[u8]>::to_vec).collect();
        let expected: BTreeSet<_> = self
            .model
            .iter()
            .filter(|(_, room)| room.contains(&member))
            .map(|(name, _)| name.clone())
            .collect();
        assert_eq!(is_in, expected);
        self.rooms.leave_all(member);
        for room in self.model.values_mut() {
            room.remove(&member);
        }
        self.model.retain(|_, room| !room.is_empty());
    }

    /// A new connection takes the member's number: elsewhere, with another id, of another class.
    fn replace(&mut self, member: MemberId, random: &mut Random) {
        self.next_id += 1 + random.below(5000) as i64;
        let place = Place {
            link: random.below(3) as u16,
            class: [0, 0, 0, 1, 7][random.below(5)],
            id: ConnId::try_from(self.next_id).unwrap(),
        };
        self.places[member as usize] = (random.below(20) > 0).then_some(place);
    }

    fn check_members(&self) {
        let mut names: Vec<_> = self.rooms.names().collect();
        let mut expected: Vec<_> = self.model.keys().map(Vec::as_slice).collect();
        names.sort_unstable();
        expected.sort_unstable();
        assert_eq!(names, expected);
        for (name, members) in &self.model {
            assert_eq!(self.rooms.count(name), members.len());
            assert_eq!(&self.rooms.members(name).iter().copied().collect::<HashSet<_>>(), members);
        }
    }

    fn check_plan(&mut self, name: &[u8], max: usize) {
        let (places, senders) = (&self.places, &self.senders);
        let sender = |link: u16| senders[usize::from(link)].as_ref();
        let plan = self.rooms.plan(name, max, |member| places[member as usize], sender);
        let Some(members) = self.model.get(name) else {
            assert!(plan.is_none());
            return;
        };
        let plan = plan.unwrap();
        let mut reached = BTreeSet::new();
        let mut before = None;
        for group in plan.groups() {
            let mut chunks = 0;
            for chunk in group.chunks() {
                assert!((1..=max).contains(&chunk.members().len()));
                let sender = sender(group.link()).unwrap();
                assert_eq!(parse(chunk.address(), sender), chunk.ids());
                let mut partly = Vec::new();
                let remain = chunk.encode_without(&mut partly, sender, |member| member % 3 == 0);
                let kept = chunk.members().iter().zip(chunk.ids()).filter(|(m, _)| *m % 3 != 0);
                let kept: Vec<_> = kept.map(|(_, id)| *id).collect();
                assert_eq!(remain, kept.len());
                assert_eq!(if remain == 0 { Vec::new() } else { parse(&partly, sender) }, kept);
                for (member, id) in chunk.members().iter().zip(chunk.ids()) {
                    let at = Some((group.link(), group.class(), *member));
                    assert!(at > before, "in order");
                    before = at;
                    reached.insert((*member, group.link(), group.class(), *id));
                }
                chunks += 1;
            }
            let fewest = group.count().div_ceil(max);
            assert!(chunks <= fewest + fewest / 16, "{chunks} replies where {fewest} would do");
        }
        let here = members.iter().filter_map(|member| {
            let place = places[*member as usize]?;
            sender(place.link)?;
            Some((*member, place.link, place.class, place.id))
        });
        assert_eq!(reached, here.collect());
        assert_eq!(plan.recipients(), reached.len());
    }
}

/// Reads an address as Mongrel2 does.
fn parse(address: &[u8], sender: &Sender) -> Vec<ConnId> {
    let text = std::str::from_utf8(address).unwrap();
    let (from, rest) = text.split_once(' ').unwrap();
    assert_eq!(from, sender.as_str());
    let (size, rest) = rest.split_once(':').unwrap();
    let (ids, rest) = rest.split_at(size.parse().unwrap());
    assert_eq!(rest, ", ");
    ids.split(' ').map(|id| ConnId::try_from(id.parse::<i64>().unwrap()).unwrap()).collect()
}

fn play(seed: u64, members: usize, max: usize, steps: usize) {
    let mut random = Random(seed);
    let mut world = World::new(members);
    for member in 0..members as u32 {
        world.replace(member, &mut random);
    }
    let names = [&b"lobby"[..], b"red", b"blue", b"\0\xff", b"ten", b"eleven", b"twelve"];
    for step in 0..steps {
        // The first rooms are the fuller ones; tides of joining and leaving.
        let name = names[random.below(names.len()).min(random.below(names.len()))];
        let member = random.below(members) as u32;
        let tide = if step / 1500 % 2 == 0 { 60 } else { 35 };
        match random.below(100) {
            n if n < tide => world.join(name, member),
            n if n < 80 => world.leave(name, member),
            80..85 => {
                world.leave_all(member);
                world.replace(member, &mut random);
            }
            85..88 => {
                world.replace(member, &mut random);
                world.rooms.forget_place(member);
            }
            88 if random.below(20) == 0 => {
                let link = random.below(3);
                world.senders[link] = match world.senders[link] {
                    Some(_) => None,
                    None => Some(Sender::new("again").unwrap()),
                };
                world.rooms.forget_plans();
            }
            89 if random.below(20) == 0 => world.check_plan(name, max + 1),
            _ => world.check_plan(name, max),
        }
        if step % 500 == 0 {
            world.check_members();
        }
    }
}

#[test]
fn rooms_do_what_the_model_does() {
    play(1, 40, 3, 20_000);
    play(2, 400, 2, 20_000);
    play(3, 1500, 5, 20_000);
    play(4, 1500, 128, 20_000);
    play(5, 60, 1, 10_000);
}
