//! The words of moving a shard between two live nodes.

use rookery_proto::{
    ids::Epoch,
    link::{self, hand_over},
    shard::{SHARD_COUNT, Shard},
};

use crate::endpoint::EndpointId;

/// One step. Any may be lost: an offer is repeated, and who has given claims it no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandOver {
    /// Who owns it, and gives; or who found it given.
    pub from: EndpointId,
    /// Who takes.
    pub to: EndpointId,
    /// What moves.
    pub shard: Shard,
    /// The giver's epoch of it; of what is given, the taker's.
    pub epoch: Epoch,
    /// How far it is.
    pub step: Step,
}

/// How far a move is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Giver: will you take it?
    Offer,
    /// Taker: yes.
    Accept,
    /// Giver, or who asked the database for it in vain: the database has it as yours.
    Given,
}

impl HandOver {
    /// As on the wire.
    #[must_use]
    pub fn to_wire(&self) -> link::HandOver {
        link::HandOver {
            from: self.from.as_str().to_owned(),
            to: self.to.as_str().to_owned(),
            shard: self.shard.number().into(),
            epoch: self.epoch.0,
            step: match self.step {
                Step::Offer => hand_over::Step::Offer,
                Step::Accept => hand_over::Step::Accept,
                Step::Given => hand_over::Step::Given,
            }
            .into(),
        }
    }

    /// Reads one; `None` when it cannot be right.
    #[must_use]
    pub fn from_wire(wire: &link::HandOver) -> Option<Self> {
        let step = match hand_over::Step::try_from(wire.step).ok()? {
            hand_over::Step::NoStep => return None,
            hand_over::Step::Offer => Step::Offer,
            hand_over::Step::Accept => Step::Accept,
            hand_over::Step::Given => Step::Given,
        };
        if wire.shard >= SHARD_COUNT.into() {
            return None;
        }
        Some(Self {
            from: EndpointId::from_wire(&wire.from),
            to: EndpointId::from_wire(&wire.to),
            shard: Shard::all().nth(wire.shard as usize)?,
            epoch: Epoch(wire.epoch),
            step,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Role;

    #[test]
    fn step_comes_back_from_the_wire_unless_unsound() {
        for step in [Step::Offer, Step::Accept, Step::Given] {
            let told = HandOver {
                from: EndpointId::new(Role::Rooms, 1),
                to: EndpointId::new(Role::Rooms, 2),
                shard: Shard::of("general"),
                epoch: Epoch(9),
                step,
            };
            let wire = told.to_wire();
            assert_eq!(HandOver::from_wire(&wire), Some(told));
            for bad in [
                link::HandOver {
                    shard: SHARD_COUNT.into(),
                    ..wire.clone()
                },
                link::HandOver { step: 0, ..wire },
            ] {
                assert_eq!(HandOver::from_wire(&bad), None);
            }
        }
    }
}
