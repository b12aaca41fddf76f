//! A user's devices: what each chose, and how long one without a session still counts.

use std::{collections::BTreeSet, sync::Arc};

use tokio::time::Instant;

use super::{few::Few, status::Choice};

#[derive(Debug)]
struct Device {
    choice: Choice,
    sessions: usize,
    /// No session is left; the device counts until then.
    leaves_at: Option<Instant>,
}

/// All devices that count: those with a session and those in their grace.
#[derive(Debug, Default)]
pub(super) struct Devices {
    devices: Few<Arc<str>, Device>,
    /// Devices of each choice, so that the best is found without looking at all.
    tally: [usize; Choice::COUNT],
    leaving: BTreeSet<(Instant, Arc<str>)>,
}

impl Devices {
    /// A session of the device opened. A device that counts already keeps what it chose.
    pub(super) fn arrive(&mut self, name: &Arc<str>, choice: Choice) {
        if let Some(device) = self.devices.get_mut(name) {
            device.sessions += 1;
            if let Some(at) = device.leaves_at.take() {
                self.leaving.remove(&(at, Arc::clone(name)));
            }
            return;
        }
        self.tally[choice as usize] += 1;
        let device = Device {
            choice,
            sessions: 1,
            leaves_at: None,
        };
        self.devices.insert(Arc::clone(name), device);
    }

    /// A session of the device ended; when it was the last one, the device counts until
    /// `counts_until` (`None`: no longer).
    pub(super) fn depart(&mut self, name: &Arc<str>, counts_until: Option<Instant>) {
        let Some(device) = self.devices.get_mut(name) else {
            return;
        };
        device.sessions = device.sessions.saturating_sub(1);
        if device.sessions > 0 {
            return;
        }
        match counts_until {
            Some(at) => {
                device.leaves_at = Some(at);
                self.leaving.insert((at, Arc::clone(name)));
            }
            None => self.remove(name),
        }
    }

    pub(super) fn choose(&mut self, name: &Arc<str>, choice: Choice) {
        if let Some(device) = self.devices.get_mut(name) {
            self.tally[device.choice as usize] -= 1;
            self.tally[choice as usize] += 1;
            device.choice = choice;
        }
    }

    /// Forgets the devices whose grace is over.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((at, name)) = self.leaving.first().cloned()
            && at <= now
        {
            self.leaving.pop_first();
            self.remove(&name);
        }
    }

    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.leaving.first().map(|(at, _)| *at)
    }

    pub(super) fn is_visible(&self, name: &Arc<str>) -> bool {
        self.devices
            .get(name)
            .is_some_and(|device| device.choice != Choice::Invisible)
    }

    #[cfg(test)]
    pub(super) fn choice_of(&self, name: &Arc<str>) -> Option<Choice> {
        self.devices.get(name).map(|device| device.choice)
    }

    /// The best choice of all devices.
    pub(super) fn best(&self) -> Option<Choice> {
        Choice::BEST_FIRST
            .into_iter()
            .find(|choice| self.tally[*choice as usize] > 0)
    }

    /// The best choice that others may see.
    pub(super) fn best_visible(&self) -> Option<Choice> {
        self.best().filter(|choice| *choice != Choice::Invisible)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }

    fn remove(&mut self, name: &Arc<str>) {
        if let Some(device) = self.devices.remove(name) {
            self.tally[device.choice as usize] -= 1;
        }
    }
}
