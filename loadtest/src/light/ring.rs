//! From the first listener to the last: who of a room's listeners has which recent event.

/// Recent offsets of a room and how many of its listeners have each.
///
/// Bounded: what falls out before its last listener has it is not measured (and, if it never
/// arrives, is counted as lost elsewhere). It grows only when that would happen.
#[derive(Debug, Default)]
pub(super) struct Ring {
    /// A power of two, or none yet; an offset's place is its remainder.
    places: Vec<Place>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    offset: u64,
    listeners: u32,
}

const PLACES_MIN: usize = 4;

impl Ring {
    /// One more listener has this event; whether it was the last of them.
    pub(super) fn reached(&mut self, offset: u64, listeners: u32, places_max: usize) -> bool {
        if self.places.is_empty() {
            self.places = vec![Place::default(); PLACES_MIN];
        }
        loop {
            let full = self.places.len() >= places_max;
            let index = self.index(offset);
            let place = &mut self.places[index];
            if place.offset == offset {
                place.listeners += 1;
                return place.listeners == listeners;
            }
            if place.offset > offset {
                // Its place was taken: not measured.
                return false;
            }
            let complete = place.offset == 0 || place.listeners >= listeners;
            if complete || full {
                *place = Place {
                    offset,
                    listeners: 1,
                };
                return listeners == 1;
            }
            self.grow();
        }
    }

    fn index(&self, offset: u64) -> usize {
        usize::try_from(offset).unwrap_or_default() & (self.places.len() - 1)
    }

    fn grow(&mut self) {
        let more = vec![Place::default(); self.places.len() * 2];
        let places = std::mem::replace(&mut self.places, more);
        for place in places.into_iter().filter(|place| place.offset > 0) {
            let index = self.index(place.offset);
            self.places[index] = place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_the_listeners_is_told() {
        let mut ring = Ring::default();
        for offset in 1..1_000 {
            assert!(!ring.reached(offset, 3, 64));
            assert!(!ring.reached(offset, 3, 64));
            assert!(ring.reached(offset, 3, 64));
        }
        assert_eq!(ring.places.len(), PLACES_MIN);
        assert!(ring.reached(5_000, 1, 64), "alone it is the last");
    }

    #[test]
    fn a_listener_that_lags_makes_it_grow_up_to_its_bound() {
        let mut ring = Ring::default();
        for offset in 1..=64 {
            assert!(!ring.reached(offset, 2, 64));
        }
        for offset in 1..=64 {
            assert!(ring.reached(offset, 2, 64), "{offset}");
        }
        for offset in 65..=200 {
            ring.reached(offset, 2, 64);
        }
        assert_eq!(ring.places.len(), 64);
        assert!(!ring.reached(100, 2, 64), "fell out");
        assert!(ring.reached(150, 2, 64), "is still in");
    }
}
