//! Who is where: names and rooms follow from a connection's number, in every process alike.

use crate::scenario::{People, Popularity};

/// Names of rooms and users.
#[derive(Clone, Debug)]
pub(super) struct Names {
    prefix: String,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
        }
    }

    pub(super) fn room(&self, room: u32) -> String {
        format!("{}-r{room}", self.prefix)
    }

    pub(super) fn user(&self, number: u32) -> String {
        format!("{}-u{number}", self.prefix)
    }

    /// The room of that name; `None`: none of this run's.
    #[inline]
    pub(super) fn room_number(&self, name: &[u8]) -> Option<u32> {
        let digits = name
            .strip_prefix(self.prefix.as_bytes())?
            .strip_prefix(b"-r")?;
        if digits.is_empty() || digits.len() > 9 {
            return None;
        }
        digits.iter().try_fold(0, |number, digit| {
            let value = digit.is_ascii_digit().then(|| u32::from(digit - b'0'))?;
            Some(number * 10 + value)
        })
    }
}

/// Which rooms each connection listens to.
#[derive(Debug)]
pub(super) struct Audience {
    rooms: u32,
    rooms_each: u32,
    /// By Zipf's law: how likely a room or one before it is.
    cumulative: Vec<f64>,
}

impl Audience {
    pub(super) fn new(people: &People) -> Self {
        let cumulative = match people.popularity {
            Popularity::Even => Vec::new(),
            Popularity::Zipf(exponent) => {
                let mut sum = 0.0;
                (1..=people.rooms)
                    .map(|rank| {
                        sum += f64::from(rank).powf(-exponent);
                        sum
                    })
                    .collect()
            }
        };
        Self {
            rooms: people.rooms,
            rooms_each: people.rooms_each,
            cumulative,
        }
    }

    /// The rooms of this connection, in their order, each once.
    pub(super) fn of(&self, number: u32) -> Vec<u32> {
        let mut rooms = Vec::new();
        if let Some(&sum) = self.cumulative.last() {
            let mut random = fastrand::Rng::with_seed(u64::from(number));
            rooms.push(number % self.rooms);
            while rooms.len() < self.rooms_each as usize {
                let wanted = random.f64() * sum;
                let room = self.cumulative.partition_point(|upto| *upto < wanted);
                let mut room = u32::try_from(room).unwrap_or_default().min(self.rooms - 1);
                while rooms.contains(&room) {
                    room = (room + 1) % self.rooms;
                }
                rooms.push(room);
            }
        } else {
            let first = u64::from(number) * u64::from(self.rooms_each);
            rooms.extend((0..u64::from(self.rooms_each)).map(|next| {
                let room = (first + next) % u64::from(self.rooms);
                u32::try_from(room).expect("below a u32")
            }));
        }
        rooms.sort_unstable();
        rooms
    }
}

/// Whether a connection speaks JSON: the share is spread evenly over the numbers.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of connections"
)]
pub(super) fn speaks_json(share: f64, number: u32) -> bool {
    let upto = |count: u32| (f64::from(count) * share) as u64;
    upto(number + 1) > upto(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scenario::Scenario;

    fn people(rooms: u32, rooms_each: u32, popularity: Popularity) -> People {
        let mut people = Scenario::load("fanout", &[]).unwrap().people;
        (people.rooms, people.rooms_each, people.popularity) = (rooms, rooms_each, popularity);
        people
    }

    #[test]
    fn an_even_audience_is_the_same_in_every_room() {
        let audience = Audience::new(&people(5_000, 5, Popularity::Even));
        let mut listeners = vec![0; 5_000];
        for number in 0..2_000 {
            for room in audience.of(number) {
                listeners[room as usize] += 1;
            }
        }
        assert!(listeners.iter().all(|count| *count == 2));
    }

    #[test]
    fn by_zipf_the_first_rooms_are_the_large_ones_and_none_is_empty() {
        let audience = Audience::new(&people(400, 8, Popularity::Zipf(1.1)));
        let mut listeners = vec![0; 400];
        for number in 0..2_000 {
            for room in audience.of(number) {
                listeners[room as usize] += 1;
            }
        }
        assert!(listeners[0] > 10 * listeners[300], "{listeners:?}");
        assert!(listeners.iter().all(|count| *count >= 5));
    }

    proptest! {
        #[test]
        fn a_connection_is_in_as_many_rooms_as_it_should(
            number: u32,
            rooms in 1_u32..300,
            each in 1_u32..300,
            exponent in 0.1_f64..3.0,
            even: bool,
        ) {
            let popularity = if even { Popularity::Even } else { Popularity::Zipf(exponent) };
            let each = each.min(rooms);
            let rooms_of = Audience::new(&people(rooms, each, popularity)).of(number);
            prop_assert_eq!(rooms_of.len(), each as usize);
            prop_assert!(rooms_of.is_sorted_by(|one, next| one < next));
            prop_assert!(rooms_of.iter().all(|room| *room < rooms));
        }

        #[test]
        fn a_rooms_name_gives_its_number(room in 0_u32..999_999_999) {
            let names = Names::new("run-7");
            prop_assert_eq!(names.room_number(names.room(room).as_bytes()), Some(room));
        }
    }

    #[test]
    fn names_of_others_are_no_rooms() {
        let names = Names::new("run-7");
        for name in [
            "",
            "run-7",
            "run-7-r",
            "run-7-r1x",
            "run-8-r1",
            "run-7-u1",
            "run-7-r9999999999",
        ] {
            assert_eq!(names.room_number(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn json_is_spoken_by_its_share() {
        for (share, count) in [(0.0, 0), (0.5, 500), (1.0, 1_000)] {
            let json = (0..1_000).filter(|number| speaks_json(share, *number));
            assert_eq!(json.count(), count);
        }
    }
}
