//! Workers: what each has to do and how it fares.

pub(in crate::hub) mod pace;
pub(in crate::hub) mod worker;

use crate::hub::ids::WorkerId;
use slab::Slab;
use worker::Worker;

/// All workers, also those that load or end.
#[derive(Debug, Default)]
pub(in crate::hub) struct Workers(Slab<Worker>);

impl Workers {
    pub fn insert(&mut self, worker: Worker) -> WorkerId {
        WorkerId(self.0.insert(worker))
    }

    pub fn remove(&mut self, id: WorkerId) -> Option<Worker> {
        self.0.try_remove(id.0)
    }

    pub fn get(&self, id: WorkerId) -> Option<&Worker> {
        self.0.get(id.0)
    }

    pub fn get_mut(&mut self, id: WorkerId) -> Option<&mut Worker> {
        self.0.get_mut(id.0)
    }

    pub fn contains(&self, id: WorkerId) -> bool {
        self.0.contains(id.0)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (WorkerId, &Worker)> {
        self.0.iter().map(|(id, worker)| (WorkerId(id), worker))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (WorkerId, &mut Worker)> {
        self.0.iter_mut().map(|(id, worker)| (WorkerId(id), worker))
    }
}

impl std::ops::Index<WorkerId> for Workers {
    type Output = Worker;

    fn index(&self, id: WorkerId) -> &Worker {
        &self.0[id.0]
    }
}

impl std::ops::IndexMut<WorkerId> for Workers {
    fn index_mut(&mut self, id: WorkerId) -> &mut Worker {
        &mut self.0[id.0]
    }
}
